//! The few statements that are understood, and their parts.

/// A statement in words: quoted names without their quotes, strings with theirs, punctuation by itself.
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => {}
            '"' => {
                let mut word = String::from("\"");
                while let Some(c) = chars.next() {
                    match c {
                        '"' if chars.peek() == Some(&'"') => word.push(chars.next().unwrap_or('"')),
                        '"' => break,
                        c => word.push(c),
                    }
                }
                words.push(word);
            }
            '\'' => {
                let mut word = String::from("'");
                word.extend(chars.by_ref().take_while(|c| *c != '\''));
                words.push(word);
            }
            c if c.is_alphanumeric() || c == '_' => {
                let mut word = String::from(c);
                while let Some(c) = chars.next_if(|c| c.is_alphanumeric() || matches!(c, '_' | '.')) {
                    word.push(c);
                }
                words.push(word.to_lowercase());
            }
            c => words.push(c.to_string()),
        }
    }
    words
}

/// A name without the sign that it was quoted.
pub fn name(word: &str) -> String {
    word.trim_start_matches('"').to_string()
}

/// Whether words begin with those.
pub fn begins(words: &[String], with: &[&str]) -> bool {
    words.len() >= with.len() && words.iter().zip(with).all(|(word, with)| word == with)
}

/// The words after the first place where those stand.
pub fn after<'w>(words: &'w [String], these: &[&str]) -> Option<&'w [String]> {
    let at = (0..words.len()).find(|at| begins(&words[*at..], these))?;
    Some(&words[at + these.len()..])
}

/// The relation and the columns, each with whether it is cast to text, of `SELECT … FROM relation` or
/// `SELECT … FROM (SELECT * FROM relation) AS q`. No columns: all.
pub fn select(words: &[String]) -> Option<(String, Vec<(String, bool)>)> {
    let list = after(words, &["select"])?;
    let end = list.iter().position(|word| word == "from")?;
    let mut from = &list[end + 1..];
    while begins(from, &["(", "select"]) {
        from = after(from, &["from"])?;
    }
    let relation = name(from.first()?);
    let mut columns = Vec::new();
    for item in list[..end].split(|word| word == ",") {
        match item.first()?.as_str() {
            "*" => return Some((relation, Vec::new())),
            column => columns.push((name(column), begins(&item[1..], &[":", ":", "text"]))),
        }
    }
    Some((relation, columns))
}
