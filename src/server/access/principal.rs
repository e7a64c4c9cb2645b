//! [`Principal`]: who asks, from where, and what it may.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::roles::Rights;
use super::{Action, Forbidden};
use crate::server::audit::{Audit, Event};
use crate::server::failure::{Failure, Kind};

/// Who asks. Copying it is cheap.
#[derive(Debug, Clone)]
pub struct Principal {
    who: Arc<Who>,
    at: At,
}

#[derive(Debug)]
struct Who {
    /// What it is called in the audit and as the owner of what it makes.
    name: String,
    roles: Vec<String>,
    rights: Rights,
    /// Whether it has signed in, or nobody has to.
    is_known: bool,
    /// Whether it may say that it acts for any user.
    for_all_users: bool,
    /// When it is over.
    ends: Option<Instant>,
}

/// Where a request comes from, and what it goes to.
#[derive(Debug, Clone, Default)]
pub struct At {
    /// The other side's address.
    pub address: Option<SocketAddr>,
    /// What was asked for, such as `/graphql`.
    pub endpoint: &'static str,
    /// Where it is noted.
    pub audit: Audit,
}

/// The columns of a relation that somebody may not see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hidden(Option<Arc<BTreeSet<String>>>);

impl Hidden {
    /// These.
    pub(super) fn new(columns: BTreeSet<String>) -> Self {
        Hidden((!columns.is_empty()).then(|| Arc::new(columns)))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|columns| columns.is_empty())
    }

    /// Whether a column is one of them.
    pub fn has(&self, column: &str) -> bool {
        self.0.as_ref().is_some_and(|columns| columns.contains(column))
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|columns| columns.iter().map(String::as_str))
    }
}

impl Principal {
    fn new(who: Who) -> Self {
        Principal {
            who: Arc::new(who),
            at: At::default(),
        }
    }

    /// Nobody in particular, where nobody has to sign in.
    pub fn anonymous() -> Self {
        Principal::new(Who {
            name: "anonymous".to_string(),
            roles: Vec::new(),
            rights: Rights::All,
            is_known: true,
            for_all_users: true,
            ends: None,
        })
    }

    /// Who has not signed in and would have to: it may nothing.
    pub fn nobody() -> Self {
        Principal::new(Who {
            name: "nobody".to_string(),
            roles: Vec::new(),
            rights: Rights::Some {
                metrics: false,
                relations: HashMap::new(),
            },
            is_known: false,
            for_all_users: false,
            ends: None,
        })
    }

    /// Who has signed in.
    pub(super) fn known(name: String, roles: Vec<String>, rights: Rights, ends: Option<Instant>) -> Self {
        Principal::new(Who {
            for_all_users: matches!(rights, Rights::All),
            is_known: true,
            name,
            roles,
            rights,
            ends,
        })
    }

    #[cfg(test)]
    pub(super) fn ending(self, ends: Instant) -> Self {
        Principal::known("test".to_string(), Vec::new(), Rights::All, Some(ends))
    }

    /// The same, at a place.
    pub(super) fn at(mut self, at: At) -> Self {
        self.at = at;
        self
    }

    /// Its name: of the API key, or as the token calls it.
    pub fn name(&self) -> &str {
        &self.who.name
    }

    /// Its roles.
    pub fn roles(&self) -> &[String] {
        &self.who.roles
    }

    /// Where it is.
    pub fn place(&self) -> &At {
        &self.at
    }

    /// Whether it has signed in, or nobody has to.
    pub fn is_known(&self) -> bool {
        self.who.is_known
    }

    /// When what it signed in with is over: nothing more may be sent to it then.
    pub fn ends(&self) -> Option<Instant> {
        self.who.ends
    }

    /// Whether that is over.
    pub fn has_ended(&self, now: Instant) -> bool {
        self.who.ends.is_some_and(|ends| ends <= now)
    }

    /// Whether it may do all there is: an admin, or anybody where nobody has to sign in.
    pub fn may_all(&self) -> bool {
        matches!(self.who.rights, Rights::All)
    }

    /// Whether it may read the counters.
    pub fn may_read_metrics(&self) -> bool {
        match &self.who.rights {
            Rights::All => true,
            Rights::Some { metrics, .. } => *metrics,
        }
    }

    /// Whether it may see that a relation is there.
    pub fn sees(&self, relation: &str) -> bool {
        match &self.who.rights {
            Rights::All => true,
            Rights::Some { relations, .. } => relations
                .get(relation)
                .is_some_and(|right| super::ROWS.iter().any(|action| right.may[*action as usize])),
        }
    }

    /// Refuses what is for a user who somebody else is: events and messages of a user go to who signed in as that.
    pub fn may_be(&self, user: Option<&str>) -> Result<(), Failure> {
        match user {
            Some(user) if !self.who.for_all_users && user != self.name() => {
                Err(self.refused("", &format!("'{}' is not the user '{user}'", self.name())))
            }
            _ => Ok(()),
        }
    }

    /// That something is not allowed, which is noted.
    pub fn refused(&self, relation: &str, message: &str) -> Failure {
        let failure = Failure::new(Kind::Forbidden, message);
        self.note_refusal(relation, &failure);
        failure
    }

    /// Notes that something was refused. Whether that can be noted or not, it is.
    pub fn note_refusal(&self, relation: &str, failure: &Failure) {
        let more = serde_json::json!({"message": failure.message});
        let _ = self
            .at
            .audit
            .note(Event::Refusal, self, relation, failure.kind.code(), more);
    }

    pub(super) fn may(&self, action: Action, name: &str) -> Result<(), Forbidden> {
        let may = match &self.who.rights {
            Rights::All => true,
            Rights::Some { relations, .. } => relations.get(name).is_some_and(|right| right.may[action as usize]),
        };
        if may {
            return Ok(());
        }
        let message = format!("'{}' may not {} '{name}'", self.name(), action.verb());
        Err(Forbidden(self.refused(name, &message).message))
    }

    pub(super) fn row_filter(&self, relation: &str) -> Option<String> {
        match &self.who.rights {
            Rights::All => None,
            Rights::Some { relations, .. } => match relations.get(relation) {
                Some(right) => right.filter.clone(),
                None => Some("FALSE".to_string()),
            },
        }
    }

    pub(super) fn hidden(&self, relation: &str) -> Hidden {
        match &self.who.rights {
            Rights::All => Hidden::default(),
            Rights::Some { relations, .. } => relations
                .get(relation)
                .map(|right| right.hidden.clone())
                .unwrap_or_default(),
        }
    }
}
