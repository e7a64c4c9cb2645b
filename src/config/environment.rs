//! `${VAR}` and `${VAR:default}` in option values.

/// Replaces `${VAR}` and `${VAR:default}` using `lookup`. An error names the variable that is neither set nor has a
/// default. `$${` stands for a literal `${`.
pub fn substitute(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            out.push_str(&rest[..start - 1]);
            out.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        let Some(length) = rest[start..].find('}') else {
            return Err(format!("'{}' lacks its closing brace", &rest[start..]));
        };
        out.push_str(&rest[..start]);
        let inside = &rest[start + 2..start + length];
        let (name, default) = match inside.split_once(':') {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        match lookup(name).or_else(|| default.map(str::to_string)) {
            Some(value) => out.push_str(&value),
            None => {
                return Err(format!(
                    "the environment variable {name} is not set; a default is written ${{{name}:value}}"
                ));
            }
        }
        rest = &rest[start + length + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::substitute;

    #[test]
    fn replaces_variables_and_defaults() {
        let lookup = |name: &str| (name == "HOME").then(|| "/h".to_string());
        let cases = [
            ("${HOME}/x", Ok("/h/x")),
            ("a${NOPE:b}c", Ok("abc")),
            ("${NOPE:}", Ok("")),
            ("$${HOME}", Ok("${HOME}")),
            ("plain $ text", Ok("plain $ text")),
            ("${NOPE}", Err("NOPE")),
            ("${HOME", Err("closing brace")),
        ];
        for (text, want) in cases {
            match (substitute(text, lookup), want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want, "{text}"),
                (Err(got), Err(want)) => assert!(got.contains(want), "{text}: {got}"),
                (got, want) => panic!("{text}: {got:?} instead of {want:?}"),
            }
        }
    }
}
