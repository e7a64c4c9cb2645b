//! [`Roles`]: what roles may do, checked against what the server has; and [`Rights`], what somebody with some of them may.
//!
//! Several roles are together what one of them allows: permissions add up, a row is seen that one of them shows, and a column is hidden
//! that all of them hide. What of a relation somebody sees is the same however it is asked for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::ROWS;
use super::claims::Claims;
use super::principal::Hidden;
use crate::catalog::names::{Resolved, resolve};
use crate::config::access::{RoleOptions, ViewOptions};
use crate::config::nearest::nearest;
use crate::error::{Error, Result};
use crate::plan::claims::ClaimCondition;
use crate::server::exposed::Exposed;
use crate::server::{live::Hub, messages};

/// All of them.
const ALL: &str = "*";

/// The condition of no row.
const NOTHING: &str = "FALSE";

/// How many claims of one filter are tried in all their types when it is checked.
const TRIED: u32 = 4;

/// What is there to be allowed.
pub struct There<'a> {
    /// The relations that clients may see.
    pub exposed: &'a [Arc<Exposed>],
    /// What clients may send into.
    pub publish: &'a [String],
    /// Who checks conditions.
    pub hub: &'a Arc<Hub>,
}

/// The roles there are.
pub struct Roles {
    roles: HashMap<String, Role>,
    hub: Arc<Hub>,
}

struct Role {
    admin: bool,
    metrics: bool,
    /// What it may do with what, in the order of [`super::Action`].
    allowed: [BTreeSet<String>; 4],
    views: HashMap<String, View>,
}

struct View {
    exposed: Arc<Exposed>,
    filter: Option<ClaimCondition>,
    hidden: BTreeSet<String>,
}

/// What somebody may.
#[derive(Debug, Clone)]
pub enum Rights {
    /// Everything.
    All,
    /// This.
    Some {
        /// Whether it may read the counters.
        metrics: bool,
        /// What it may do with what.
        relations: HashMap<String, Right>,
    },
}

/// What somebody may do with a relation.
#[derive(Debug, Clone, Default)]
pub struct Right {
    /// In the order of [`super::Action`].
    pub may: [bool; 4],
    /// The rows it sees.
    pub filter: Option<String>,
    /// The columns it does not.
    pub hidden: Hidden,
}

impl Roles {
    /// As configured. *Errors.* For names that are none, filters that are none, and columns that cannot be hidden.
    pub fn new(options: &BTreeMap<String, RoleOptions>, there: &There<'_>) -> Result<Self> {
        let roles = options
            .iter()
            .map(|(name, role)| Ok((name.clone(), Role::new(name, role, there)?)));
        Ok(Roles {
            roles: roles.collect::<Result<_>>()?,
            hub: there.hub.clone(),
        })
    }

    /// What somebody with roles and claims may. Roles that are not configured allow nothing.
    pub fn rights(&self, names: &[String], claims: &Claims) -> Rights {
        let roles: Vec<&Role> = names.iter().filter_map(|name| self.roles.get(name)).collect();
        if roles.iter().any(|role| role.admin) {
            return Rights::All;
        }
        let mut relations: HashMap<String, Right> = HashMap::new();
        let named: BTreeSet<&String> = roles.iter().flat_map(|role| role.allowed.iter().flatten()).collect();
        for name in named {
            let mut right = Right::default();
            for (action, may) in right.may.iter_mut().enumerate() {
                *may = roles.iter().any(|role| role.allowed[action].contains(name));
            }
            let seen = roles.iter().filter(|role| role.sees(name));
            let views: Vec<Option<&View>> = seen.map(|role| role.views.get(name)).collect();
            right.filter = self.filter(&views, claims);
            right.hidden = hidden(&views);
            relations.insert(name.clone(), right);
        }
        Rights::Some {
            metrics: roles.iter().any(|role| role.metrics),
            relations,
        }
    }

    /// The rows that one of the views shows; all if one shows all. A view whose condition has no meaning with these claims shows none.
    fn filter(&self, views: &[Option<&View>], claims: &Claims) -> Option<String> {
        let mut filters = BTreeSet::new();
        for view in views {
            let (view, condition) = view.and_then(|view| Some((view, view.filter.as_ref()?)))?;
            let claim = |path: &[String]| claims.behind(path).cloned().filter(|value| !value.is_null());
            let bound = condition.bound(&claim);
            let relation = &view.exposed.relation;
            filters.extend(bound.filter(|bound| self.hub.filter(relation, bound).is_ok()));
        }
        let filters: Vec<String> = filters.into_iter().collect();
        match filters.as_slice() {
            [] => Some(NOTHING.to_string()),
            [one] => Some(one.clone()),
            several => {
                let several: Vec<String> = several.iter().map(|one| format!("({one})")).collect();
                Some(several.join(" OR "))
            }
        }
    }
}

/// The columns that all of the views hide.
fn hidden(views: &[Option<&View>]) -> Hidden {
    let mut views = views.iter().map(|view| view.map(|view| &view.hidden));
    let Some(Some(first)) = views.next() else {
        return Hidden::default();
    };
    let rest: Vec<_> = views.collect();
    let by_all = |column: &&String| {
        rest.iter()
            .all(|view| view.is_some_and(|hidden| hidden.contains(*column)))
    };
    Hidden::new(first.iter().filter(by_all).cloned().collect())
}

impl Role {
    fn new(name: &str, options: &RoleOptions, there: &There<'_>) -> Result<Self> {
        let relations: Vec<&str> = there
            .exposed
            .iter()
            .map(|exposed| exposed.relation.name.as_str())
            .collect();
        let with_messages: Vec<&str> = relations.iter().copied().chain([messages::NAME]).collect();
        let publish: Vec<&str> = there.publish.iter().map(String::as_str).collect();
        let of = |what: &str, names: &[String], known: &[&str]| {
            let names = names.iter().map(|asked| match asked.as_str() {
                ALL => Ok(known.iter().map(|name| name.to_string()).collect()),
                asked => known_as(asked, known, &format!("auth.roles.{name}.{what}")).map(|name| vec![name]),
            });
            let names: Vec<Vec<String>> = names.collect::<Result<_>>()?;
            Ok::<BTreeSet<String>, Error>(names.concat().into_iter().collect())
        };
        let mut role = Role {
            admin: options.admin,
            metrics: options.metrics,
            allowed: [
                of("read", &options.read, &relations)?,
                of("subscribe", &options.subscribe, &with_messages)?,
                of("publish", &options.publish, &publish)?,
                of("trigger", &options.trigger, &relations)?,
            ],
            views: HashMap::new(),
        };
        for (asked, view) in &options.relations {
            let at = format!("auth.roles.{name}.relations");
            let relation = known_as(asked, &relations, &at)?;
            if !role.sees(&relation) {
                return Err(Error::usage(format!(
                    "[server] {at}.{asked}: the role '{name}' may not see '{relation}': name it in read, subscribe or trigger"
                )));
            }
            let exposed = there.exposed.iter().find(|exposed| exposed.relation.name == relation);
            if let Some(exposed) = exposed {
                let view = View::new(view, exposed.clone(), there.hub, &format!("{at}.{asked}"))?;
                role.views.insert(relation, view);
            }
        }
        Ok(role)
    }

    fn sees(&self, relation: &str) -> bool {
        ROWS.iter()
            .any(|action| self.allowed[*action as usize].contains(relation))
    }
}

fn known_as(asked: &str, known: &[&str], at: &str) -> Result<String> {
    if let Resolved::One(exact) = resolve(asked, known.iter().copied()) {
        return Ok(exact.to_string());
    }
    let hint = match nearest(asked, known.iter().copied()) {
        Some(near) => format!("did you mean '{near}'?"),
        None if known.is_empty() => "there is nothing".to_string(),
        None => format!("there are: {}", known.join(", ")),
    };
    Err(Error::usage(format!("[server] {at}: '{asked}' is not there; {hint}")))
}

impl View {
    fn new(options: &ViewOptions, exposed: Arc<Exposed>, hub: &Hub, at: &str) -> Result<Self> {
        let wrong = |what: &str, why: String| Error::usage(format!("[server] {at}.{what}: {why}"));
        let columns: Vec<String> = exposed.columns().map(str::to_string).collect();
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let key: Vec<&str> = exposed.relation.key.iter().map(|column| columns[*column]).collect();
        let mut hidden = BTreeSet::new();
        for asked in &options.hidden {
            let column = known_as(asked, &columns, &format!("{at}.hidden"))?;
            if key.contains(&column.as_str()) {
                let why = format!("'{column}' is of the key, by which clients know rows: it cannot be hidden");
                return Err(wrong("hidden", why));
            }
            hidden.insert(column);
        }
        if hidden.len() == columns.len() {
            return Err(wrong("hidden", "no column is left".to_string()));
        }
        let filter = match &options.row_filter {
            None => None,
            Some(text) => {
                let explained = |error: crate::error::Diagnostic| match &error.hint {
                    Some(hint) => format!("{} ({hint})", error.message),
                    None => error.message.clone(),
                };
                let condition = ClaimCondition::new(text).map_err(|error| wrong("row_filter", explained(error)))?;
                check(&condition, &exposed, hub).map_err(|error| match error {
                    Error::Compile(error) => wrong("row_filter", explained(error)),
                    other => other,
                })?;
                Some(condition)
            }
        };
        Ok(View {
            exposed,
            filter,
            hidden,
        })
    }
}

/// Checks that a filter is one, whatever of the types that claims have them have. *Errors.* What is wrong with it if they are texts.
fn check(condition: &ClaimCondition, exposed: &Exposed, hub: &Hub) -> Result<()> {
    let samples = [serde_json::json!("x"), serde_json::json!(1), serde_json::json!(true)];
    let claims: BTreeSet<Vec<String>> = condition.claims().map(<[String]>::to_vec).collect();
    let claims: Vec<Vec<String>> = claims.into_iter().collect();
    let count = u32::try_from(claims.len()).unwrap_or(u32::MAX);
    let tries = 3_usize.pow(count.min(TRIED));
    let mut first = None;
    for attempt in 0..tries {
        let claim = |path: &[String]| {
            let at = claims.iter().position(|claim| claim == path)?;
            let digit = attempt / 3_usize.pow(u32::try_from(at).unwrap_or(TRIED).min(TRIED));
            samples.get(digit % 3).cloned()
        };
        let bound = condition.bound(&claim).unwrap_or_default();
        match hub.filter(&exposed.relation, &bound) {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => first = first.or_else(|| Some(Error::usage("it is empty"))),
            Err(error) => first = first.or(Some(error)),
        }
    }
    first.map_or(Ok(()), Err)
}
