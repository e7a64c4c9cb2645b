//! Templates of sinks: `{"symbol": {{symbol}}, "text": "{{#if note}}{{note}}{{else}}none{{/if}}"}`.
//!
//! A template is compiled once to a list of steps: texts, values of columns, and jumps where a condition does not hold. A row costs the
//! steps it takes. A condition holds unless its column is NULL or FALSE.
//!
//! In JSON a placeholder stands for a whole value, or, within a string of the template, for a part of that string; which one it is,
//! is known when the template is compiled. So is whether the result is JSON, as far as its conditions allow.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::de::IgnoredAny;

use super::columns::dates::DateFormat;
use super::columns::json_value;
use super::columns::scalar_writer::{self, Cells, Typed};
use crate::catalog::names::{Resolved, resolve};
use crate::catalog::types::TIMESTAMP;
use crate::config::nearest::nearest;
use crate::config::options::Options;
use crate::error::{Diagnostic, Result};
use crate::event::EventBatch;

/// The option that gives a template.
pub(crate) const TEMPLATE: &str = "template";
/// Conditions inside one another.
const MAX_DEPTH: usize = 16;
/// What a template can say of an event beside its columns: its operation and its time.
const OF_EVENT: [&str; 2] = ["@op", "@time"];

/// What a template makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syntax {
    Json,
    Plain,
}

/// Where a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spot {
    /// By itself.
    Bare,
    /// In a string of the template.
    InString,
}

/// A compiled template.
#[derive(Debug)]
pub(crate) struct Template {
    steps: Vec<Step>,
    /// The columns, and what else can be said of an event, if the template does.
    schema: SchemaRef,
    of_event: bool,
}

#[derive(Debug)]
enum Step {
    Text(Vec<u8>),
    Value(usize, Spot),
    /// Goes on at `to` unless the column's truth is `wanted`.
    Test {
        column: usize,
        wanted: bool,
        to: usize,
    },
    Jump(usize),
}

/// A condition that is open.
struct Open {
    /// The step that must learn where it leads.
    step: usize,
    in_string: bool,
    has_else: bool,
}

/// Why a text is no template, and what would be right.
type Wrong = (String, Option<String>);

fn wrong(reason: impl Into<String>) -> Wrong {
    (reason.into(), None)
}

impl Template {
    /// The template among the options of a sink, if there is one.
    pub(crate) fn of(options: &Options, schema: &SchemaRef, syntax: Syntax) -> Result<Option<Self>, Diagnostic> {
        let Some(text) = options.text(TEMPLATE) else {
            return Ok(None);
        };
        let template = Template::compile(text, schema, syntax);
        template.map(Some).map_err(|wrong| invalid(options, TEMPLATE, wrong))
    }

    /// The template of plain text that an option holds.
    #[cfg(feature = "http")]
    pub(crate) fn plain(options: &Options, option: &str, text: &str, schema: &SchemaRef) -> Result<Self, Diagnostic> {
        Template::compile(text, schema, Syntax::Plain).map_err(|wrong| invalid(options, option, wrong))
    }

    fn compile(text: &str, schema: &SchemaRef, syntax: Syntax) -> Result<Self, Wrong> {
        let mut compiler = Compiler {
            schema,
            syntax,
            steps: Vec::new(),
            open: Vec::new(),
            in_string: false,
        };
        let mut rest = text;
        while let Some(start) = placeholder(rest) {
            compiler.text(&rest[..start]);
            let inside = &rest[start + 2..];
            let Some(end) = inside.find("}}") else {
                let shown: String = rest[start..].chars().take(20).collect();
                return Err(wrong(format!("'{shown}' is not closed by '}}}}'")));
            };
            compiler.tag(inside[..end].trim())?;
            rest = &inside[end + 2..];
        }
        compiler.text(rest);
        if !compiler.open.is_empty() {
            return Err(wrong("a '{{#if …}}' is not closed by '{{/if}}'"));
        }
        let columns = schema.fields().len();
        let of_event = compiler.steps.iter().any(|step| match step {
            Step::Value(column, _) | Step::Test { column, .. } => *column >= columns,
            Step::Text(_) | Step::Jump(_) => false,
        });
        let template = Template {
            steps: compiler.steps,
            schema: if of_event { with_event(schema) } else { schema.clone() },
            of_event,
        };
        if syntax == Syntax::Json {
            template.check_json()?;
        }
        Ok(template)
    }

    /// Checks that the result is JSON when all conditions hold, and when none does.
    fn check_json(&self) -> Result<(), Wrong> {
        for (holds, when) in [(true, "when all conditions hold"), (false, "when no condition holds")] {
            let mut sample = Vec::new();
            self.run(
                &mut sample,
                |_| holds,
                |out, _, spot| {
                    if spot == Spot::Bare {
                        out.extend_from_slice(b"null");
                    }
                },
            );
            if let Err(error) = serde_json::from_slice::<IgnoredAny>(&sample) {
                let shown = super::columns::shorten(&String::from_utf8_lossy(&sample)).into_owned();
                let conditions = self.steps.iter().any(|step| matches!(step, Step::Test { .. }));
                let when = if conditions { when } else { "with any values" };
                let reason = format!("it is not JSON {when}: {} in {shown}", json_value::plain(&error));
                return Err(wrong(reason));
            }
        }
        Ok(())
    }

    fn run(
        &self,
        out: &mut Vec<u8>,
        mut holds: impl FnMut(usize) -> bool,
        mut value: impl FnMut(&mut Vec<u8>, usize, Spot),
    ) {
        let mut at = 0;
        while let Some(step) = self.steps.get(at) {
            at += 1;
            match step {
                Step::Text(text) => out.extend_from_slice(text),
                Step::Value(column, spot) => value(out, *column, *spot),
                Step::Test { column, wanted, to } if holds(*column) != *wanted => at = *to,
                Step::Test { .. } => {}
                Step::Jump(to) => at = *to,
            }
        }
    }

    /// Whether it says the same of every row.
    #[cfg(feature = "http")]
    pub(crate) fn is_fixed(&self) -> bool {
        self.steps.iter().all(|step| matches!(step, Step::Text(_)))
    }

    /// Its text with one value for all, as if all conditions held.
    #[cfg(feature = "http")]
    pub(crate) fn sample(&self, value: &str) -> String {
        let mut out = Vec::new();
        self.run(&mut out, |_| true, |out, _, _| out.extend_from_slice(value.as_bytes()));
        String::from_utf8_lossy(&out).into_owned()
    }

    /// The text of each row; `put` appends the text of a value. NULL is nothing.
    #[cfg(feature = "http")]
    pub(crate) fn texts(&self, batch: &EventBatch, put: impl Fn(&mut Vec<u8>, &[u8])) -> Result<Vec<String>> {
        let columns = self.columns_of(batch)?;
        let cells = scalar_writer::cells(&self.schema, columns.columns())?;
        let text = |row| {
            let mut out = Vec::new();
            let value = |out: &mut Vec<u8>, column: usize, _| {
                if !cells[column].is_null(row) {
                    let mut text = Vec::new();
                    scalar_writer::write(&mut text, &cells[column].values, row);
                    put(out, &text);
                }
            };
            self.run(&mut out, |column| holds(&cells[column], row), value);
            String::from_utf8_lossy(&out).into_owned()
        };
        Ok((0..batch.num_rows()).map(text).collect())
    }

    /// Appends a line for each row; `value` writes one value.
    pub(crate) fn encode(
        &self,
        batch: &EventBatch,
        dates: Option<&Arc<DateFormat>>,
        end: &[u8],
        out: &mut Vec<u8>,
        mut value: impl FnMut(&mut Vec<u8>, &Cells, usize, Spot),
    ) -> Result<()> {
        let columns = self.columns_of(batch)?;
        let mut cells = scalar_writer::cells(&self.schema, columns.columns())?;
        if let Some(dates) = dates {
            cells.iter_mut().for_each(|cells| cells.set_dates(dates));
        }
        for row in 0..batch.num_rows() {
            self.run(
                out,
                |column| holds(&cells[column], row),
                |out, column, spot| value(out, &cells[column], row, spot),
            );
            out.extend_from_slice(end);
        }
        Ok(())
    }

    /// The columns, and what else can be said of the events if the template does.
    fn columns_of(&self, batch: &EventBatch) -> Result<RecordBatch> {
        match self.of_event {
            true => self.event_columns(batch),
            false => Ok(batch.columns().clone()),
        }
    }

    fn event_columns(&self, batch: &EventBatch) -> Result<RecordBatch> {
        let rows = 0..batch.num_rows();
        let ops: StringViewArray = rows.clone().map(|row| Some(batch.op(row).sign())).collect();
        let times: TimestampMicrosecondArray = rows.map(|row| Some(batch.time(row))).collect();
        let mut columns: Vec<ArrayRef> = batch.columns().columns().to_vec();
        columns.push(Arc::new(ops));
        columns.push(Arc::new(times));
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }
}

/// The error of an option that holds no template.
fn invalid(options: &Options, option: &str, (reason, hint): Wrong) -> Diagnostic {
    let error = options.invalid(option, reason);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn with_event(schema: &SchemaRef) -> SchemaRef {
    let [op, time] = OF_EVENT;
    let more = [
        Field::new(op, DataType::Utf8View, true),
        Field::new(time, TIMESTAMP, true),
    ];
    let fields: Vec<_> = schema.fields().iter().cloned().chain(more.map(Arc::new)).collect();
    Arc::new(Schema::new(fields))
}

fn holds(cells: &Cells, row: usize) -> bool {
    !cells.is_null(row) && !matches!(&cells.values, Typed::Bool(values) if !values.value(row))
}

/// Where the next placeholder begins: of several braces the last two are its own.
fn placeholder(text: &str) -> Option<usize> {
    let start = text.find("{{")?;
    let braces = text[start..].bytes().take_while(|byte| *byte == b'{').count();
    Some(start + braces - 2)
}

struct Compiler<'a> {
    schema: &'a SchemaRef,
    syntax: Syntax,
    steps: Vec<Step>,
    open: Vec<Open>,
    /// JSON: whether the text so far ends in a string.
    in_string: bool,
}

impl Compiler<'_> {
    fn text(&mut self, text: &str) {
        let mut bytes = text.as_bytes().to_vec();
        if self.syntax == Syntax::Json {
            let mut escaped = false;
            for byte in &mut bytes {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' if self.in_string => escaped = true,
                    b'"' => self.in_string = !self.in_string,
                    // A record is one line.
                    b'\n' | b'\r' if !self.in_string => *byte = b' ',
                    _ => {}
                }
            }
        }
        if !bytes.is_empty() {
            self.steps.push(Step::Text(bytes));
        }
    }

    fn tag(&mut self, tag: &str) -> Result<(), Wrong> {
        match tag.split_once(char::is_whitespace) {
            Some(("#if", column)) => self.condition(column.trim(), true),
            Some(("#unless", column)) => self.condition(column.trim(), false),
            _ => match tag {
                "else" => self.otherwise(),
                "/if" | "/unless" => self.close(tag),
                "" => Err(wrong("'{{}}' names no column")),
                _ if tag.starts_with(['#', '/', '^', '>', '!', '&']) => Err((
                    format!("there is no '{{{{{tag}}}}}'"),
                    Some("there are {{column}}, {{#if column}}, {{#unless column}}, {{else}}, {{/if}}".to_string()),
                )),
                column => {
                    let spot = if self.in_string { Spot::InString } else { Spot::Bare };
                    let column = self.column(column)?;
                    self.steps.push(Step::Value(column, spot));
                    Ok(())
                }
            },
        }
    }

    fn condition(&mut self, column: &str, wanted: bool) -> Result<(), Wrong> {
        if self.open.len() == MAX_DEPTH {
            return Err(wrong(format!("more than {MAX_DEPTH} conditions inside one another")));
        }
        let column = self.column(column)?;
        self.open.push(Open {
            step: self.steps.len(),
            in_string: self.in_string,
            has_else: false,
        });
        self.steps.push(Step::Test { column, wanted, to: 0 });
        Ok(())
    }

    fn otherwise(&mut self) -> Result<(), Wrong> {
        let Some(open) = self.open.pop().filter(|open| !open.has_else) else {
            return Err(wrong("'{{else}}' belongs to no '{{#if …}}'"));
        };
        self.same_string(&open)?;
        let jump = self.steps.len();
        self.steps.push(Step::Jump(0));
        self.lead(open.step);
        self.open.push(Open {
            step: jump,
            has_else: true,
            ..open
        });
        Ok(())
    }

    fn close(&mut self, tag: &str) -> Result<(), Wrong> {
        let open = self.open.pop();
        let open = open.ok_or_else(|| wrong(format!("'{{{{{tag}}}}}' closes nothing")))?;
        self.same_string(&open)?;
        self.lead(open.step);
        Ok(())
    }

    /// Whatever the condition says, a string of the template goes on or does not.
    fn same_string(&self, open: &Open) -> Result<(), Wrong> {
        match open.in_string == self.in_string {
            true => Ok(()),
            false => Err(wrong("a string begins or ends under a condition")),
        }
    }

    /// Lets a step lead to here.
    fn lead(&mut self, step: usize) {
        let here = self.steps.len();
        if let Some(Step::Test { to, .. } | Step::Jump(to)) = self.steps.get_mut(step) {
            *to = here;
        }
    }

    fn column(&self, name: &str) -> Result<usize, Wrong> {
        let fields = self.schema.fields();
        let names = || fields.iter().map(|field| field.name().as_str());
        if let Some(place) = OF_EVENT.iter().position(|known| *known == name) {
            return Ok(fields.len() + place);
        }
        if let Resolved::One(exact) = resolve(name, names())
            && let Some(column) = names().position(|name| name == exact)
        {
            return Ok(column);
        }
        let hint = match nearest(name, names().chain(OF_EVENT)) {
            Some(near) => format!("did you mean '{{{{{near}}}}}'?"),
            None => format!("its columns are {}", names().collect::<Vec<_>>().join(", ")),
        };
        Err((format!("the stream has no column '{name}'"), Some(hint)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Op, Times};
    use crate::formats::testing::field;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            field("a", DataType::Utf8View),
            field("ok", DataType::Boolean),
        ]))
    }

    fn render(template: &str) -> Result<Vec<String>, String> {
        let template = Template::compile(template, &schema(), Syntax::Plain).map_err(|(reason, _)| reason)?;
        let columns = RecordBatch::try_new(
            schema(),
            vec![
                Arc::new(StringViewArray::from(vec![Some("x"), None, Some("z")])),
                Arc::new(arrow::array::BooleanArray::from(vec![Some(true), Some(false), None])),
            ],
        )
        .unwrap();
        let ops = [Op::Insert, Op::UpdateAfter, Op::Delete].into();
        let batch = EventBatch::changes(columns, Times::Same(1_000_000), ops);
        let mut out = Vec::new();
        let write = |out: &mut Vec<u8>, cells: &Cells, row, _| {
            if !cells.is_null(row) {
                scalar_writer::write(out, &cells.values, row);
            }
        };
        template.encode(&batch, None, b"\n", &mut out, write).unwrap();
        Ok(String::from_utf8(out).unwrap().lines().map(str::to_string).collect())
    }

    #[test]
    fn values_and_conditions() {
        for (template, want) in [
            ("-", ["-", "-", "-"]),
            ("{{a}}", ["x", "", "z"]),
            ("{ {{A}}}}{{{{ ok }}", ["{ x}}{{true", "{ }}{{false", "{ z}}{{"]),
            ("{{#if a}}a={{a}}{{/if}}.", ["a=x.", ".", "a=z."]),
            ("{{#if ok}}y{{else}}n{{/if}}", ["y", "n", "n"]),
            ("{{#unless ok}}n{{else}}y{{/unless}}", ["y", "n", "n"]),
            (
                "{{#if a}}{{#if ok}}1{{else}}2{{/if}}{{else}}3{{/if}}!",
                ["1!", "3!", "2!"],
            ),
            (
                "{{@op}} {{@time}}",
                [
                    "+I 1970-01-01T00:00:01Z",
                    "+U 1970-01-01T00:00:01Z",
                    "-D 1970-01-01T00:00:01Z",
                ],
            ),
        ] {
            assert_eq!(render(template).unwrap(), want, "{template}");
        }
    }

    #[test]
    fn what_is_no_template_says_why() {
        for (template, want) in [
            ("{{b}}", "the stream has no column 'b'"),
            ("{{#if b}}{{/if}}", "the stream has no column 'b'"),
            ("{{a", "'{{a' is not closed by '}}'"),
            ("{{#if a}}", "a '{{#if …}}' is not closed by '{{/if}}'"),
            ("{{/if}}", "'{{/if}}' closes nothing"),
            ("{{else}}", "'{{else}}' belongs to no '{{#if …}}'"),
            (
                "{{#if a}}{{else}}{{else}}{{/if}}",
                "'{{else}}' belongs to no '{{#if …}}'",
            ),
            ("{{#each a}}", "there is no '{{#each a}}'"),
            ("{{}}", "'{{}}' names no column"),
        ] {
            assert_eq!(render(template).unwrap_err(), want);
        }
        assert!(render(&"{{#if a}}".repeat(17)).unwrap_err().starts_with("more than 16"));
        let (_, hint) = Template::compile("{{okk}}", &schema(), Syntax::Plain).unwrap_err();
        assert_eq!(hint.as_deref(), Some("did you mean '{{ok}}'?"));
    }

    #[test]
    fn templates_of_json_make_json() {
        let compile = |text: &str| {
            Template::compile(text, &schema(), Syntax::Json)
                .map(|_| ())
                .map_err(|(reason, _)| reason)
        };
        assert_eq!(
            compile("{\"a\": {{a}}, \n \"t\": \"is {{a}}\"{{#if ok}}, \"ok\": {{ok}}{{/if}}}"),
            Ok(())
        );
        assert_eq!(
            compile("{\"a\": {{a}}"),
            Err("it is not JSON with any values: EOF while parsing an object in {\"a\": null".to_string())
        );
        assert_eq!(
            compile("{\"a\": {{a}}{{#if ok}}\"ok\": 1{{/if}}}"),
            Err("it is not JSON when all conditions hold: expected `,` or `}` in {\"a\": null\"ok\": 1}".to_string())
        );
        assert_eq!(
            compile("{\"a\": {{#if ok}}\"{{/if}}x\"}"),
            Err("a string begins or ends under a condition".to_string())
        );
    }
}
