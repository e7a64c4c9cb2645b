//! Name resolution: exact, else case-insensitive when that is unique.

/// What a name resolves to among candidates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved<'a> {
    /// This candidate.
    One(&'a str),
    /// Several candidates differ only in case, and none is equal.
    Ambiguous(Vec<&'a str>),
    /// None.
    None,
}

/// Resolves a name: an equal candidate wins; else the only one that is equal but for case.
pub fn resolve<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Resolved<'a> {
    let mut folded: Vec<&str> = Vec::new();
    for candidate in candidates {
        if candidate == name {
            return Resolved::One(candidate);
        }
        if candidate.to_lowercase() == name.to_lowercase() && !folded.contains(&candidate) {
            folded.push(candidate);
        }
    }
    match folded.as_slice() {
        [] => Resolved::None,
        [only] => Resolved::One(only),
        _ => Resolved::Ambiguous(folded),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_beats_folded_and_folded_must_be_unique() {
        assert_eq!(resolve("a", ["A", "a"]), Resolved::One("a"));
        assert_eq!(resolve("PRICE", ["price", "symbol"]), Resolved::One("price"));
        assert_eq!(
            resolve("PRICE", ["price", "Price"]),
            Resolved::Ambiguous(vec!["price", "Price"])
        );
        assert_eq!(resolve("x", ["price"]), Resolved::None);
    }
}
