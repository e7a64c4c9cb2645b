//! `${VAR}`, `${VAR:default}` and `${file:PATH}` in option values.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A value with all `${…}` replaced.
#[derive(Clone, PartialEq, Eq)]
pub struct Substituted {
    /// The value.
    pub text: String,
    /// Whether any of it was read from a file, as secrets are: it must not be shown.
    pub secret: bool,
}

/// What stands before the path of a file.
const FILE: &str = "file";

/// A file with a secret in it is no longer than this.
const MOST_BYTES: u64 = 64 * 1024;

/// Replaces `${VAR}` and `${VAR:default}` using `lookup`, and `${file:PATH}` by what is in the file, without the end of its last
/// line. A relative path starts at `directory`, or else at the working directory. `$${` stands for a literal `${`.
///
/// An error names the variable that is neither set nor has a default, or the file that cannot be read.
pub fn substitute(
    text: &str,
    lookup: impl Fn(&str) -> Option<String>,
    directory: Option<&Path>,
) -> Result<Substituted, String> {
    let mut out = Substituted {
        text: String::with_capacity(text.len()),
        secret: false,
    };
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            out.text.push_str(&rest[..start - 1]);
            out.text.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        let Some(length) = rest[start..].find('}') else {
            return Err(format!("'{}' lacks its closing brace", &rest[start..]));
        };
        out.text.push_str(&rest[..start]);
        let inside = &rest[start + 2..start + length];
        match inside.split_once(':') {
            Some((FILE, path)) => {
                out.text.push_str(&content(path, directory)?);
                out.secret = true;
            }
            Some((name, default)) => out.text.push_str(&lookup(name).unwrap_or_else(|| default.to_string())),
            None => out.text.push_str(&lookup(inside).ok_or_else(|| {
                format!("the environment variable {inside} is not set; a default is written ${{{inside}:value}}")
            })?),
        }
        rest = &rest[start + length + 1..];
    }
    out.text.push_str(rest);
    Ok(out)
}

/// What is in a file of one value.
fn content(path: &str, directory: Option<&Path>) -> Result<String, String> {
    let full = directory.unwrap_or(Path::new("")).join(path);
    let read = || {
        let mut text = String::new();
        let read = File::open(&full)?.take(MOST_BYTES + 1).read_to_string(&mut text)?;
        Ok::<_, std::io::Error>((read as u64 <= MOST_BYTES).then_some(text))
    };
    match read() {
        Ok(Some(text)) => {
            let line = text.strip_suffix('\n').unwrap_or(&text);
            Ok(line.strip_suffix('\r').unwrap_or(line).to_string())
        }
        Ok(None) => Err(format!("the file '{path}' is longer than {} KiB", MOST_BYTES / 1024)),
        Err(error) => Err(format!("the file '{path}' cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(text: &str, directory: Option<&Path>) -> Result<Substituted, String> {
        substitute(text, |name| (name == "HOME").then(|| "/h".to_string()), directory)
    }

    #[test]
    fn replaces_variables_and_defaults() {
        let cases = [
            ("${HOME}/x", Ok("/h/x")),
            ("a${NOPE:b}c", Ok("abc")),
            ("${NOPE:}", Ok("")),
            ("$${HOME}", Ok("${HOME}")),
            ("plain $ text", Ok("plain $ text")),
            ("${NOPE}", Err("NOPE")),
            ("${HOME", Err("closing brace")),
            ("${file:/no/such}", Err("'/no/such' cannot be read")),
        ];
        for (text, want) in cases {
            match (replaced(text, None), want) {
                (Ok(got), Ok(want)) => {
                    assert_eq!(got.text, want, "{text}");
                    assert!(!got.secret);
                }
                (Err(got), Err(want)) => assert!(got.contains(want), "{text}: {got}"),
                (got, want) => panic!("{text}: {:?} instead of {want:?}", got.map(|got| got.text)),
            }
        }
    }

    #[test]
    fn files_give_their_content_as_secrets() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("password"), "s3 cret\r\n").unwrap();
        std::fs::write(folder.path().join("long"), "x".repeat(70_000)).unwrap();
        std::fs::write(folder.path().join("bytes"), b"\xff\xfe").unwrap();
        let got = replaced("user:${file:password}@", Some(folder.path())).ok().unwrap();
        assert_eq!((got.text.as_str(), got.secret), ("user:s3 cret@", true));
        let wrong = |text| replaced(text, Some(folder.path())).err().unwrap();
        assert!(wrong("${file:long}").contains("longer than 64 KiB"));
        assert!(wrong("${file:bytes}").contains("cannot be read"));
    }
}
