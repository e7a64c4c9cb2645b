//! [`Claims`]: what a token or an API key says of who has it.

use serde_json::{Map, Value};

/// The longest name, in bytes.
const LONGEST_NAME: usize = 256;

/// What is said of somebody.
#[derive(Debug, Clone, Default)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// Of an object.
    pub fn new(claims: Map<String, Value>) -> Self {
        Claims(claims)
    }

    /// The claim of that name, or behind the dots in it.
    pub fn at(&self, path: &str) -> Option<&Value> {
        if let Some(value) = self.0.get(path) {
            return Some(value);
        }
        let mut names = path.split('.');
        let first = self.0.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name))
    }

    /// The claim behind names.
    pub fn behind(&self, path: &[String]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.0.get(first)?, |value, name| value.get(name))
    }

    /// A name: a text or a whole number.
    pub fn name(&self, path: &str) -> Option<String> {
        let name = match self.at(path)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        (!name.is_empty() && name.len() <= LONGEST_NAME).then_some(name)
    }

    /// Words: a list of texts, or a text with spaces between them.
    pub fn words(&self, path: &str) -> Vec<String> {
        match self.at(path) {
            Some(Value::String(text)) => text.split_whitespace().map(str::to_string).collect(),
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_string).collect(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_names_and_words() {
        let Value::Object(claims) = json!({
            "sub": "ann", "n": 7, "https://x/y.z": "url", "realm_access": {"roles": ["a", 1, "b"]}, "scope": "c  d", "long": "x".repeat(300)
        }) else {
            unreachable!()
        };
        let claims = Claims::new(claims);
        assert_eq!(claims.name("sub").as_deref(), Some("ann"));
        assert_eq!(claims.name("n").as_deref(), Some("7"));
        assert_eq!(claims.name("https://x/y.z").as_deref(), Some("url"));
        assert_eq!(
            (claims.name("long"), claims.name("no"), claims.name("scope.x")),
            (None, None, None)
        );
        assert_eq!(claims.words("realm_access.roles"), ["a", "b"]);
        assert_eq!(claims.words("scope"), ["c", "d"]);
        assert!(claims.words("n").is_empty());
        assert_eq!(claims.behind(&["realm_access".into(), "roles".into()]).unwrap()[0], "a");
    }
}
