//! `/metrics`: the counters of the app and the server in the text format of Prometheus.

use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::Shared;
use super::triggers::Trigger;
use crate::runtime::metrics::Stats;

/// The type of the answer.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All counters.
pub fn text(shared: &Shared) -> String {
    let mut page = Page(String::with_capacity(8_192));
    let is_up = u8::from(!shared.app.is_finished());
    page.single("eventflux_up", "gauge", "Whether the app runs.", is_up);
    let uptime = shared.started.elapsed().as_secs_f64();
    page.single(
        "eventflux_uptime_seconds",
        "gauge",
        "How long the server has run.",
        uptime,
    );
    if let Ok(stats) = shared.app.stats() {
        streams(&mut page, shared, &stats);
        queries(&mut page, &stats);
    }
    if let Ok(Some(checkpoints)) = shared.app.checkpoint_stats()
        && let Ok(serde_json::Value::Object(all)) = serde_json::to_value(checkpoints)
    {
        for (name, value) in all {
            if let Some(number) = value.as_f64() {
                let name = format!("eventflux_checkpoint_{name}");
                page.single(&name, "gauge", "Of the checkpoints, as --stats reports it.", number);
            }
        }
    }
    live(&mut page, shared);
    triggers(&mut page, shared);
    server(&mut page, shared);
    page.0
}

struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a text does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = match labels {
            "" => writeln!(self.0, "{name} {value}"),
            labels => writeln!(self.0, "{name}{{{labels}}} {value}"),
        };
    }

    /// A family of one sample.
    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, kind, help);
        self.sample(name, "", value);
    }

    /// A family with a sample for each of these labels.
    fn each<V: std::fmt::Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl Iterator<Item = (String, V)>,
    ) {
        self.family(name, kind, help);
        samples.for_each(|(labels, value)| self.sample(name, &labels, value));
    }

    fn counter(&mut self, name: &str, help: &str, value: &AtomicU64) {
        self.single(name, "counter", help, value.load(Ordering::Relaxed));
    }

    fn gauge(&mut self, name: &str, help: &str, value: &AtomicI64) {
        self.single(name, "gauge", help, value.load(Ordering::Relaxed).max(0));
    }
}

fn label(name: &str, value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{name}=\"{escaped}\"")
}

fn streams(page: &mut Page, shared: &Shared, stats: &Stats) {
    let all = || {
        stats.streams.iter().map(|stream| {
            let labels = format!("{},{}", label("stream", &stream.name), label("role", stream.role));
            (labels, stream)
        })
    };
    page.each(
        "eventflux_stream_events_total",
        "counter",
        "Events that went through a stream.",
        all().map(|(labels, stream)| (labels, stream.rows)),
    );
    page.each(
        "eventflux_stream_late_events_total",
        "counter",
        "Events older than the watermark.",
        all().map(|(labels, stream)| (labels, stream.late)),
    );
    page.each(
        "eventflux_stream_errors_total",
        "counter",
        "Events in trouble, by kind.",
        all().flat_map(|(labels, stream)| {
            let of = move |kind: &str| format!("{labels},{}", label("kind", kind));
            stream.errors.iter().map(move |(kind, count)| (of(kind), count))
        }),
    );
    page.each(
        "eventflux_stream_retries_total",
        "counter",
        "How often a source or sink was tried again.",
        all().map(|(labels, stream)| (labels, stream.retries)),
    );
    let now = shared.app.now();
    page.each(
        "eventflux_stream_watermark_lag_seconds",
        "gauge",
        "How far a stream's watermark is behind the clock.",
        all().filter_map(|(labels, stream)| Some((labels, now.saturating_sub(stream.watermark?) as f64 / 1e6))),
    );
}

fn queries(page: &mut Page, stats: &Stats) {
    let all = || {
        stats.queries.iter().map(|query| {
            let labels = format!("{},{}", label("query", &query.name), label("target", &query.target));
            (labels, query)
        })
    };
    page.each(
        "eventflux_query_rows_in_total",
        "counter",
        "Events that came into a query.",
        all().map(|(labels, query)| (labels, query.rows_in)),
    );
    page.each(
        "eventflux_query_rows_out_total",
        "counter",
        "Events that a query produced.",
        all().map(|(labels, query)| (labels, query.rows_out)),
    );
    page.each(
        "eventflux_pattern_open",
        "gauge",
        "Open attempts at the patterns of a query.",
        all().filter_map(|(labels, query)| Some((labels, query.pattern.as_ref()?.open))),
    );
}

/// A sample of a trigger.
type OfTrigger = (&'static str, &'static str, &'static str, fn(&Trigger) -> u64);

/// What is told of each trigger: there are as many as `[server.triggers]` lets there be.
const OF_TRIGGERS: [OfTrigger; 9] = [
    ("active", "gauge", "Keys that are fired.", |trigger| {
        trigger.active.load(Ordering::Relaxed) as u64
    }),
    ("waiting", "gauge", "Events that are to be delivered.", |trigger| {
        trigger.waiting() as u64
    }),
    ("fired_total", "counter", "FIREs.", |trigger| {
        trigger.fired.load(Ordering::Relaxed)
    }),
    ("cleared_total", "counter", "CLEARs.", |trigger| {
        trigger.cleared.load(Ordering::Relaxed)
    }),
    ("delivered_total", "counter", "Events that were delivered.", |trigger| {
        trigger.sending.tally.delivered.load(Ordering::Relaxed)
    }),
    ("failures_total", "counter", "Calls that failed.", |trigger| {
        trigger.sending.tally.failed.load(Ordering::Relaxed)
    }),
    (
        "given_up_total",
        "counter",
        "Events that became dead letters.",
        |trigger| trigger.sending.tally.given_up.load(Ordering::Relaxed),
    ),
    (
        "left_out_total",
        "counter",
        "Rows without a key left out by a cool-down.",
        |trigger| trigger.left_out.load(Ordering::Relaxed),
    ),
    (
        "too_many_total",
        "counter",
        "Rows that did not fire because too many keys were fired.",
        |trigger| trigger.too_many.load(Ordering::Relaxed),
    ),
];

fn triggers(page: &mut Page, shared: &Shared) {
    let all = shared.triggers.all();
    page.single("eventflux_triggers", "gauge", "Triggers there are.", all.len());
    let durable = u8::from(shared.triggers.is_durable());
    let help = "Whether triggers outlive the process.";
    page.single("eventflux_triggers_durable", "gauge", help, durable);
    for (what, kind, help, value) in OF_TRIGGERS {
        let samples = all.iter().map(|(relation, trigger)| {
            let name = label("trigger", &trigger.definition.name);
            (format!("{},{name}", label("relation", relation)), value(trigger))
        });
        page.each(&format!("eventflux_trigger_{what}"), kind, help, samples);
    }
}

fn live(page: &mut Page, shared: &Shared) {
    let live = &shared.hub.counters;
    page.gauge(
        "eventflux_live_views",
        "Relations that are watched for clients.",
        &live.views,
    );
    page.gauge(
        "eventflux_live_subscribers",
        "Subscriptions there are.",
        &live.subscribers,
    );
    page.counter(
        "eventflux_live_subscriptions_total",
        "Subscriptions there have been.",
        &live.subscriptions,
    );
    page.counter(
        "eventflux_live_resumed_total",
        "Subscriptions that went on from a token.",
        &live.resumed,
    );
    page.counter(
        "eventflux_live_changes_total",
        "Changes of the relations that are watched.",
        &live.changes,
    );
    page.counter(
        "eventflux_live_queued_total",
        "Changes put into queues of clients.",
        &live.pushed,
    );
    page.counter(
        "eventflux_live_missed_total",
        "Changes left out for clients that were slow.",
        &live.missed,
    );
    page.counter(
        "eventflux_live_coalesced_total",
        "Changes that became part of others for clients that were slow.",
        &live.folded,
    );
    page.counter(
        "eventflux_live_disconnected_total",
        "Subscriptions ended because the client was slow.",
        &live.too_slow,
    );
    let name = "eventflux_live_delivery_seconds";
    page.family(
        name,
        "histogram",
        "From the commit of a change until it was handed to a client's connection.",
    );
    live.latency.write(&mut page.0, name, "");
}

fn server(page: &mut Page, shared: &Shared) {
    let counters = &shared.counters;
    page.gauge(
        "eventflux_server_connections",
        "Connections there are.",
        &counters.connections,
    );
    page.counter(
        "eventflux_server_accepted_total",
        "Connections there have been.",
        &counters.accepted,
    );
    page.counter(
        "eventflux_server_refused_total",
        "Connections refused because there were too many.",
        &counters.refused,
    );
    page.counter(
        "eventflux_server_timed_out_total",
        "Connections ended because the client took or sent nothing.",
        &counters.timed_out,
    );
    page.gauge(
        "eventflux_server_sse_streams",
        "Streams of server-sent events there are.",
        &counters.sse,
    );
    page.gauge(
        "eventflux_server_websockets",
        "WebSockets there are.",
        &counters.sockets,
    );
    let classes = ["2xx", "3xx", "4xx", "5xx"].iter().zip(&counters.requests);
    page.each(
        "eventflux_server_requests_total",
        "counter",
        "Requests, by the class of their answer.",
        classes.map(|(class, count)| (label("status", class), count.load(Ordering::Relaxed))),
    );
    let name = "eventflux_server_request_seconds";
    page.family(name, "histogram", "Until the answer to a request began.");
    counters.duration.write(&mut page.0, name, "");
    page.counter(
        "eventflux_server_messages_received_total",
        "Messages of clients on WebSockets.",
        &counters.received,
    );
    page.counter(
        "eventflux_server_messages_rejected_total",
        "Of these, refused.",
        &counters.rejected,
    );
    page.counter(
        "eventflux_server_changes_sent_total",
        "Changes sent to clients.",
        &counters.sent,
    );
    page.counter(
        "eventflux_server_bytes_sent_total",
        "Bytes of these.",
        &counters.sent_bytes,
    );
    page.counter(
        "eventflux_server_events_published_total",
        "Events that clients sent into streams.",
        &counters.published,
    );
    page.counter(
        "eventflux_server_graphql_operations_total",
        "GraphQL operations.",
        &counters.graphql,
    );
    if let Some((written, missed)) = shared.audit.counts() {
        let name = "eventflux_server_audit_written_total";
        page.single(name, "counter", "Events that are in the audit.", written);
        let name = "eventflux_server_audit_missed_total";
        let help = "Events that could not be noted in the audit.";
        page.single(name, "counter", help, missed);
    }
}
