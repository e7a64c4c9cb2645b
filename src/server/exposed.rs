//! The relations that clients may see, as the handlers find them.

use std::sync::Arc;

use super::access::{self, Action, Principal, both};
use super::failure::{Failure, Kind};
use super::live::{DataMember, Hub, Member, Policy, Relation, Selection, Style, Subscribe, Subscriber, Token};
use crate::app::{Shown, ShownBy, Targets};
use crate::config::duration;

/// A relation that clients may see.
#[derive(Debug)]
pub struct Exposed {
    /// As the live views know it.
    pub relation: Arc<Relation>,
    /// By what.
    pub by: ShownBy,
    /// For whom its events are.
    pub targets: Targets,
}

impl Exposed {
    /// Of what an app shows.
    pub fn new(shown: &Shown) -> Self {
        Exposed {
            relation: Arc::new(Relation {
                name: shown.name.clone(),
                source: shown.source.clone(),
                schema: shown.schema.clone(),
                key: shown.key.clone(),
                has_rows: shown.has_rows,
            }),
            by: shown.by,
            targets: shown.targets.clone(),
        }
    }

    /// The names of its columns.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.relation.schema.fields().iter().map(|field| field.name().as_str())
    }

    /// The number of a column that somebody may ask about.
    pub fn column(&self, name: &str, principal: &Principal) -> Result<usize, Failure> {
        let relation = &self.relation.name;
        let hidden = access::hidden(principal, relation);
        if hidden.has(name) {
            let message = format!("'{}' may not see {relation}.{name}", principal.name());
            return Err(principal.refused(relation, &message));
        }
        self.columns().position(|column| column == name).ok_or_else(|| {
            let columns: Vec<&str> = self.columns().filter(|column| !hidden.has(column)).collect();
            Failure::bad(format!(
                "'{}' has no column '{name}'; it has: {}",
                self.relation.name,
                columns.join(", ")
            ))
        })
    }

    /// The numbers of the columns that somebody may not see.
    pub fn hidden(&self, principal: &Principal) -> Vec<usize> {
        let hidden = access::hidden(principal, &self.relation.name);
        let columns = self.columns().enumerate().filter(|(_, column)| hidden.has(column));
        columns.map(|(number, _)| number).collect()
    }

    /// The policy for slow clients that say nothing else.
    pub fn default_policy(&self) -> Policy {
        match self.relation.key.is_empty() {
            true => Policy::DropOldest,
            false => Policy::Coalesce,
        }
    }

    /// A policy by its name. Without a key there are no changes of one row.
    pub fn policy(&self, name: Option<&str>) -> Result<Policy, Failure> {
        let Some(name) = name else {
            return Ok(self.default_policy());
        };
        match Policy::from_name(name) {
            Some(Policy::Coalesce) if self.relation.key.is_empty() => Err(Failure::bad(format!(
                "'{}' has no key to coalesce changes by; there are drop-oldest, drop-newest and disconnect",
                self.relation.name
            ))),
            Some(policy) => Ok(policy),
            None => Err(Failure::bad(format!(
                "there is no policy '{name}'; there are coalesce, drop-oldest, drop-newest and disconnect"
            ))),
        }
    }
}

/// What a client asks for in JSON or in the query of a URL.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wanted {
    /// The condition on the rows.
    pub filter: Option<String>,
    /// The columns, between commas; the key's are always among them.
    pub fields: Option<String>,
    /// How often it wants to hear, at most.
    pub every: Option<String>,
    /// How many changes at a time.
    pub max_rows: Option<usize>,
    /// What happens when it is slow.
    pub policy: Option<String>,
    /// How many changes may wait.
    pub queue: Option<usize>,
    /// Whether it begins with the rows there are.
    pub snapshot: Option<bool>,
    /// Where it was.
    pub resume: Option<String>,
    /// The channel it listens to.
    pub channel: Option<String>,
    /// The user it is for.
    pub user: Option<String>,
    /// The session it is.
    pub session: Option<String>,
}

/// How often a subscription is told, and how much.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Not sooner than so long after it was told last.
    pub every: Option<std::time::Duration>,
    /// How many changes at a time.
    pub max_rows: usize,
}

/// How many changes go at a time if nothing is said.
pub const MAX_ROWS: usize = 256;

/// The longest queue that a client may ask for, and the largest batch.
const MOST: usize = 1_000_000;

/// A duration that a client asks for.
pub fn every(text: Option<&str>) -> Result<Option<std::time::Duration>, Failure> {
    let Some(text) = text else {
        return Ok(None);
    };
    let micros = duration::parse(text).filter(|micros| (1_000..=3_600_000_000).contains(micros));
    match micros.and_then(|micros| u64::try_from(micros).ok()) {
        Some(micros) => Ok(Some(std::time::Duration::from_micros(micros))),
        None => Err(Failure::bad(format!(
            "every: '{text}' is no duration from 1 ms to 1 hour, such as '100 ms'"
        ))),
    }
}

impl Wanted {
    /// How often, and how much.
    pub fn pace(&self) -> Result<Pace, Failure> {
        Ok(Pace {
            every: every(self.every.as_deref())?,
            max_rows: self.max_rows.unwrap_or(MAX_ROWS).clamp(1, MOST),
        })
    }

    /// The condition that lets through what is for the client.
    fn target(&self, targets: &Targets) -> String {
        let asked = [
            (&targets.channel, &self.channel),
            (&targets.user, &self.user),
            (&targets.session, &self.session),
        ];
        let conditions = asked.into_iter().filter_map(|(column, value)| {
            let column = format!("\"{}\"", column.as_ref()?.replace('"', "\"\""));
            Some(match value {
                Some(value) => format!("({column} IS NULL OR {column} = '{}')", value.replace('\'', "''")),
                None => format!("{column} IS NULL"),
            })
        });
        conditions.collect::<Vec<_>>().join(" AND ")
    }

    /// Subscribes, for JSON.
    pub async fn subscribe(
        &self,
        hub: &Arc<Hub>,
        exposed: &Exposed,
        principal: &Principal,
        default_queue: usize,
        wake: Arc<tokio::sync::Notify>,
    ) -> Result<Subscriber, Failure> {
        let name = &exposed.relation.name;
        access::may(principal, Action::Subscribe, name)?;
        if exposed.targets.user.is_some() {
            principal.may_be(self.user.as_deref())?;
        }
        let own = self.filter.as_deref().unwrap_or_default();
        access::allowed_filter(hub, principal, exposed, own)?;
        let own = both(own, &self.target(&exposed.targets));
        let subscribe = Subscribe {
            filter: access::restricted(principal, name, &own),
            selection: self.selection(exposed, principal)?,
            policy: exposed.policy(self.policy.as_deref())?,
            queue: self.queue.unwrap_or(default_queue).clamp(1, MOST),
            rows: self.snapshot.unwrap_or(true),
            resume: self.resume.as_deref().and_then(Token::parse),
            wake,
        };
        Ok(hub.subscribe(&exposed.relation, subscribe).await?)
    }

    fn selection(&self, exposed: &Exposed, principal: &Principal) -> Result<Selection, Failure> {
        let hidden = exposed.hidden(principal);
        let names: Vec<String> = exposed.columns().map(str::to_string).collect();
        let key = exposed.relation.key.clone();
        let mut columns: Vec<usize> = match &self.fields {
            None => (0..names.len()).filter(|column| !hidden.contains(column)).collect(),
            Some(fields) => {
                let asked = fields.split(',').map(str::trim).filter(|name| !name.is_empty());
                asked
                    .map(|name| exposed.column(name, principal))
                    .collect::<Result<_, _>>()?
            }
        };
        let missing: Vec<usize> = key.iter().copied().filter(|column| !columns.contains(column)).collect();
        columns.splice(0..0, missing);
        let data = columns
            .iter()
            .map(|column| (names[*column].clone(), DataMember::Column(*column)));
        Ok(Selection {
            style: Style::Json,
            members: vec![
                ("op".to_string(), Member::Operation),
                ("data".to_string(), Member::Data(data.collect())),
                ("fields".to_string(), Member::Fields),
            ],
            names,
            key,
            hidden,
            token: String::new(),
        })
    }
}

/// Finds what is exposed by a name.
pub fn find<'a>(
    all: &'a [Arc<Exposed>],
    name: &str,
    is_shown: impl Fn(&ShownBy) -> bool,
) -> Result<&'a Arc<Exposed>, Failure> {
    let found = all
        .iter()
        .find(|exposed| exposed.relation.name == name && is_shown(&exposed.by));
    found.ok_or_else(|| {
        Failure::new(
            Kind::NotFound,
            format!("there is no '{name}' here: [server] expose says what there is"),
        )
    })
}
