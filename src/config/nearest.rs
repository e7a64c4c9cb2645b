//! Did you mean …?

/// The candidate most like `name`, if any is close enough to be a slip of the finger.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&name, &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, candidate)| {
            let length = candidate.chars().count().max(name.chars().count());
            *distance <= 1 + length / 5 && *distance < length
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_is_close_or_nothing() {
        assert_eq!(nearest("pirce", ["symbol", "price"]), Some("price"));
        assert_eq!(nearest("Trade", ["Trades", "Quotes"]), Some("Trades"));
        assert_eq!(nearest("zebra", ["symbol", "price"]), None);
        assert_eq!(nearest("path", ["late", "format"]), None);
        assert_eq!(nearest("T", ["S"]), None);
    }
}
