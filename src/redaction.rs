//! Secrets in texts that are shown: the quoted line of an error, a URL in a message.
//!
//! Options that are secret are never shown by themselves; here are the places where a text as the user wrote it is quoted, with
//! whatever stands in it. Masks are as long as what they hide, so that places in the text stay what they are.

use std::sync::LazyLock;

use regex::bytes::{Captures, Regex};

/// `key = '…'` of a configuration file, where it stands alone; `password = '…'`, `"postgres.password" = '…'`, `token = "…"`, `api-key=…`: what is assigned to a name with such a word in it.
static ASSIGNED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r#"(?imx-u) (?: (?: password | passwd | secret | token | credential | (?: api | access | private | encryption ) [-_.]? key )
              [a-z0-9_.-]* ["'`]?
             | (?: ^ | [\[{,] ) \s* key )
           \s* = \s*
           (?: '( (?: [^'] | '' )* )' | "( (?: [^"\\] | \\. )* )" | ( [^\s'",;)]+ ) )"#,
    )
    .ok()
});

/// The password of a URL.
static IN_URL: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"(?i-u)[a-z][a-z0-9+.-]*://[^\s/:@'"]*:([^\s@'"]+)@"#).ok());

/// The text with secrets masked, as long as before.
///
/// *Cost.* O(text); for texts that are shown to people.
pub fn masked(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for pattern in [&*ASSIGNED, &*IN_URL].into_iter().flatten() {
        for found in pattern.captures_iter(text.as_bytes()) {
            mask(&found, &mut bytes);
        }
    }
    // Masks replace whole values, and values begin and end at characters.
    String::from_utf8(bytes).unwrap_or_default()
}

fn mask(found: &Captures, bytes: &mut [u8]) {
    let values = (1..found.len()).filter_map(|group| found.get(group));
    // That a value comes from elsewhere may be seen.
    for value in values.filter(|value| !value.as_bytes().starts_with(b"${")) {
        bytes[value.range()].fill(b'*');
    }
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn what_is_secret_is_masked_and_nothing_else() {
        let cases = [
            (
                "WITH (\"postgres.password\" = 'it''s', user = 'ann')",
                "WITH (\"postgres.password\" = '*****', user = 'ann')",
            ),
            ("password = \"a\\\"b\" # x", "password = \"****\" # x"),
            ("streams.T.http.api-key=abc", "streams.T.http.api-key=***"),
            ("url = 'postgres://ann:p:w@db/x'", "url = 'postgres://ann:***@db/x'"),
            ("url = 'postgres://ann@db:5432/x'", "url = 'postgres://ann@db:5432/x'"),
            ("password = '${DB_PASSWORD}'", "password = '${DB_PASSWORD}'"),
            (
                "SELECT tokens, name FROM S WHERE x = 'ö'",
                "SELECT tokens, name FROM S WHERE x = 'ö'",
            ),
            ("name = \"a\"\nkey = \"k1\"\n", "name = \"a\"\nkey = \"**\"\n"),
            ("{ name = 'a', key = 'k1' }", "{ name = 'a', key = '**' }"),
            ("monkey = 'x'", "monkey = 'x'"),
            ("passWord='öä',", "passWord='****',"),
        ];
        for (text, shown) in cases {
            assert_eq!(masked(text), shown);
            assert_eq!(masked(text).len(), text.len());
        }
    }
}
