//! Names: GraphQL has letters, digits and underscores only.

/// What GraphQL has already.
const TAKEN: &[&str] = &[
    "Query",
    "Mutation",
    "Subscription",
    "String",
    "Int",
    "Float",
    "Boolean",
    "ID",
    "Operation",
];

/// A name as GraphQL may have it.
pub fn graphql_name(name: &str) -> String {
    let mut text: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' })
        .collect();
    if text.is_empty() || text.starts_with(|c: char| c.is_ascii_digit()) || text.starts_with("__") {
        text.insert_str(0, "c_");
    }
    text
}

/// The name of a relation's type.
pub fn type_name(name: &str) -> String {
    let name = graphql_name(name);
    match TAKEN.contains(&name.as_str()) || super::schema::SCALARS.contains(&name.as_str()) {
        true => format!("{name}_"),
        false => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, expected) in [
            ("positions", "positions"),
            ("a b$c", "a_b_c"),
            ("1st", "c_1st"),
            ("__x", "c___x"),
            ("", "c_"),
            ("größe", "gr__e"),
        ] {
            assert_eq!(graphql_name(name), expected);
        }
        assert_eq!(type_name("Query"), "Query_");
        assert_eq!(type_name("BigInt"), "BigInt_");
    }
}
