//! Where the next page of a list is.

use reqwest::Url;
use reqwest::header::{HeaderMap, LINK};

/// How an answer says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// In the header `Link`, with `rel="next"` (RFC 8288).
    Link,
    /// In the body: a URL at that JSON pointer.
    Url(String),
    /// In the body: at that JSON pointer what this parameter of the URL must be.
    Cursor {
        /// Where it is.
        pointer: String,
        /// The parameter.
        param: String,
    },
}

/// A JSON pointer (RFC 6901) of a path of names and positions: `$.meta.pages[0].next`.
pub fn pointer(path: &str) -> Result<String, String> {
    let rest = path
        .strip_prefix('$')
        .ok_or("it is 'link', or a path that begins with $")?;
    let mut pointer = String::new();
    for part in rest.replace('[', ".[").split('.').skip(1) {
        let name = match part.strip_prefix('[') {
            Some(index) => index.strip_suffix(']').filter(|index| index.parse::<u32>().is_ok()),
            None => Some(part).filter(|name| !name.is_empty()),
        };
        let name = name.ok_or_else(|| format!("'{part}' is neither a name nor a position such as [0]"))?;
        pointer.push('/');
        pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
    }
    match pointer.is_empty() || !rest.starts_with(['.', '[']) {
        true => Err("it leads nowhere: $.next, say".to_string()),
        false => Ok(pointer),
    }
}

impl Next {
    /// The page after one: that at `url`, with this answer, of the list that begins at `first`.
    ///
    /// *Errors.* It is no URL, or one of another server, which must not get what this one gets.
    pub fn find(&self, headers: &HeaderMap, body: &[u8], url: &Url, first: &Url) -> Result<Option<Url>, String> {
        let found = match self {
            Next::Link => headers
                .get_all(LINK)
                .iter()
                .find_map(|value| link(value.to_str().ok()?)),
            Next::Url(pointer) => value(body, pointer)?,
            Next::Cursor { pointer, param } => {
                return Ok(value(body, pointer)?.map(|cursor| with_parameter(first, param, &cursor)));
            }
        };
        let Some(found) = found else {
            return Ok(None);
        };
        let next = url
            .join(&found)
            .map_err(|error| format!("the next page's address is no URL: {error}"))?;
        match next.origin() == first.origin() {
            true => Ok(Some(next)),
            false => Err("the next page is at another server".to_string()),
        }
    }
}

/// A text or number of a body. Nothing, `null`, `false` and an empty text are nothing.
fn value(body: &[u8], pointer: &str) -> Result<Option<String>, String> {
    let body: serde_json::Value = serde_json::from_slice(body)
        .map_err(|error| format!("page.next is looked for in JSON, and the body is none: {error}"))?;
    Ok(match body.pointer(pointer) {
        Some(serde_json::Value::String(text)) if !text.is_empty() => Some(text.clone()),
        Some(serde_json::Value::Number(number)) => Some(number.to_string()),
        _ => None,
    })
}

fn with_parameter(url: &Url, param: &str, value: &str) -> Url {
    let others: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| name != param)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let mut next = url.clone();
    next.query_pairs_mut()
        .clear()
        .extend_pairs(others)
        .append_pair(param, value);
    next
}

/// The target of `rel="next"` in a header such as `<…?page=2>; rel="next", <…>; rel="last"`.
fn link(header: &str) -> Option<String> {
    let mut rest = header;
    while let Some(open) = rest.find('<') {
        let (target, after) = rest[open + 1..].split_once('>')?;
        let parameters = &after[..end_of_link(after)];
        let is_next = |parameter: &str| {
            let (name, value) = parameter.split_once('=')?;
            let mut relations = value.trim().trim_matches('"').split_whitespace();
            let is = name.trim().eq_ignore_ascii_case("rel") && relations.any(|one| one.eq_ignore_ascii_case("next"));
            is.then_some(())
        };
        if parameters.split(';').find_map(is_next).is_some() {
            return Some(target.trim().to_string());
        }
        rest = &after[parameters.len()..];
    }
    None
}

/// Where the parameters of a link end: at a comma outside of quotes.
fn end_of_link(text: &str) -> usize {
    let mut quoted = false;
    let end = text.bytes().position(|byte| {
        quoted ^= byte == b'"';
        byte == b',' && !quoted
    });
    end.unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links() {
        let cases = [
            (
                r#"<https://a/?page=2>; rel="next", <https://a/?page=9>; rel="last""#,
                Some("https://a/?page=2"),
            ),
            (
                r#"<https://a/1>; rel="prev", </b,c?d=1>; title="x, <y>"; REL=next"#,
                Some("/b,c?d=1"),
            ),
            (r#"<https://a/1>; rel="last next""#, Some("https://a/1")),
            (r#"<https://a/1>; rel="nextish""#, None),
            ("<https://a/1", None),
            ("", None),
        ];
        for (header, wanted) in cases {
            assert_eq!(link(header).as_deref(), wanted, "{header}");
        }
    }

    #[test]
    fn pointers() {
        assert_eq!(pointer("$.next"), Ok("/next".to_string()));
        assert_eq!(pointer("$.a/b[2].c"), Ok("/a~1b/2/c".to_string()));
        assert_eq!(pointer("$[0].c"), Ok("/0/c".to_string()));
        for bad in ["next", "$", "$next", "$.", "$.a[x]", "$.a[*]"] {
            assert!(pointer(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_next_page_of_the_same_server() {
        let first: Url = "http://a/list?size=2&cursor=x".parse().unwrap();
        let none = HeaderMap::new();
        let find = |next: Next, body: &str| {
            next.find(&none, body.as_bytes(), &first, &first)
                .map(|url| url.map(String::from))
        };
        let cursor = || Next::Cursor {
            pointer: "/next".to_string(),
            param: "cursor".to_string(),
        };
        let next = find(cursor(), r#"{"next":"a b"}"#);
        assert_eq!(next, Ok(Some("http://a/list?size=2&cursor=a+b".to_string())));
        assert_eq!(
            find(cursor(), r#"{"next":7}"#),
            Ok(Some("http://a/list?size=2&cursor=7".to_string()))
        );
        for end in [r#"{"next":null}"#, r#"{"next":""}"#, "{}"] {
            assert_eq!(find(cursor(), end), Ok(None), "{end}");
        }
        assert!(find(cursor(), "<html>").is_err());
        let url = || Next::Url("/next".to_string());
        assert_eq!(
            find(url(), r#"{"next":"/list?page=2"}"#),
            Ok(Some("http://a/list?page=2".to_string()))
        );
        assert!(find(url(), r#"{"next":"http://b/list"}"#).is_err());
        assert!(find(url(), r#"{"next":"https://a/list"}"#).is_err());
    }
}
