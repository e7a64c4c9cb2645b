//! CREATE and DEFINE.

use sqlparser::ast::Ident;
use sqlparser::tokenizer::{Span, Token};

use crate::aggregation;
use crate::ast::{
    CreateFunction, CreateStream, CreateTable, CreateTrigger, CreateView, CreateWindow, FunctionParam, OutputEvents,
    SourceOptions, StatementKind, StreamOrigin, TriggerSchedule,
};
use crate::columns::{column_list, data_type, ident_list};
use crate::error::{ParseError, nearest};
use crate::options::{options, with_options};
use crate::query;
use crate::rewrite::Rewriter;
use crate::tokens::Cursor;

/// What CREATE can make.
const OBJECTS: &[&str] = &[
    "STREAM",
    "SOURCE",
    "TABLE",
    "VIEW",
    "WINDOW",
    "TRIGGER",
    "FUNCTION",
    "AGGREGATION",
];

/// What stands around the name of anything created.
struct Header {
    start: Span,
    or_replace: bool,
    if_not_exists: bool,
}

/// After CREATE.
pub(crate) fn create(cursor: &mut Cursor<'_>, start: Span) -> Result<StatementKind, ParseError> {
    let or_replace = cursor.take_words(&["OR", "REPLACE"]);
    let object_span = cursor.span();
    let Some(word) = cursor.word() else {
        return Err(cursor.expected("what to create").with_hint(known_objects()));
    };
    let object = word.value.to_ascii_uppercase();
    if !OBJECTS.contains(&object.as_str()) {
        let error = ParseError::syntax(format!("`{}` cannot be created", word.value), object_span);
        return Err(error.with_hint(match nearest(&word.value, OBJECTS) {
            Some(object) => format!("did you mean CREATE {object}?"),
            None => known_objects(),
        }));
    }
    cursor.advance();
    let if_not_exists = cursor.take_words(&["IF", "NOT", "EXISTS"]);
    let header = Header {
        start,
        or_replace,
        if_not_exists,
    };
    let name = name(cursor, &object)?;
    match object.as_str() {
        "STREAM" => stream(cursor, header, name, StreamOrigin::CreateStream),
        "SOURCE" => stream(cursor, header, name, StreamOrigin::Source(SourceOptions::default())),
        "TABLE" => table(cursor, header, name),
        "VIEW" => view(cursor, header, name),
        "WINDOW" => window(cursor, header, name),
        "TRIGGER" => trigger(cursor, header, name),
        "FUNCTION" => function(cursor, header, name),
        _ => aggregation::create(cursor, start, name),
    }
}

/// After DEFINE.
pub(crate) fn define(cursor: &mut Cursor<'_>, start: Span) -> Result<StatementKind, ParseError> {
    if !cursor.take_word("STREAM") {
        return Err(cursor
            .expected("STREAM after DEFINE")
            .with_hint("everything else is made with CREATE"));
    }
    let header = Header {
        start,
        or_replace: false,
        if_not_exists: false,
    };
    let name = name(cursor, "STREAM")?;
    stream(cursor, header, name, StreamOrigin::DefineStream)
}

fn known_objects() -> String {
    format!("CREATE is followed by one of {}", OBJECTS.join(", "))
}

fn name(cursor: &mut Cursor<'_>, object: &str) -> Result<Ident, ParseError> {
    let name = cursor.ident(&format!("the name of the {}", object.to_ascii_lowercase()))?;
    if *cursor.peek() == Token::Period {
        return Err(cursor
            .expected("a name without dots")
            .with_hint("a name that contains a dot is written in double quotes"));
    }
    Ok(name)
}

fn stream(
    cursor: &mut Cursor<'_>,
    header: Header,
    name: Ident,
    origin: StreamOrigin,
) -> Result<StatementKind, ParseError> {
    let list = column_list(cursor, "stream")?;
    let options_ = with_options(cursor)?;
    let origin = match origin {
        StreamOrigin::Source(_) => {
            let map = if cursor.take_word("MAP") {
                Some(options(cursor, "after MAP")?)
            } else {
                None
            };
            StreamOrigin::Source(SourceOptions { map })
        }
        other => other,
    };
    Ok(StatementKind::CreateStream(CreateStream {
        name,
        columns: list.columns,
        primary_key: list.primary_key,
        watermark: list.watermark,
        options: options_,
        origin,
        or_replace: header.or_replace,
        if_not_exists: header.if_not_exists,
        span: cursor.span_from(header.start),
    }))
}

fn table(cursor: &mut Cursor<'_>, header: Header, name: Ident) -> Result<StatementKind, ParseError> {
    let list = column_list(cursor, "table")?;
    if let Some(watermark) = list.watermark {
        return Err(ParseError::syntax("a table has no WATERMARK", watermark.span)
            .with_hint("event time belongs to the stream that feeds the table"));
    }
    let options = with_options(cursor)?;
    Ok(StatementKind::CreateTable(CreateTable {
        name,
        columns: list.columns,
        primary_key: list.primary_key,
        indexes: list.indexes,
        options,
        or_replace: header.or_replace,
        if_not_exists: header.if_not_exists,
        span: cursor.span_from(header.start),
    }))
}

fn view(cursor: &mut Cursor<'_>, header: Header, name: Ident) -> Result<StatementKind, ParseError> {
    let columns = match cursor.peek() {
        Token::LParen => ident_list(cursor, "a column")?,
        _ => Vec::new(),
    };
    cursor.expect_word("AS", "before the view's query")?;
    let query = query::without_target(cursor, "a view")?;
    Ok(StatementKind::CreateView(CreateView {
        name,
        columns,
        query,
        or_replace: header.or_replace,
        span: cursor.span_from(header.start),
    }))
}

fn window(cursor: &mut Cursor<'_>, header: Header, name: Ident) -> Result<StatementKind, ParseError> {
    let columns = match cursor.peek() {
        Token::LParen => column_list(cursor, "window")?.columns,
        _ => Vec::new(),
    };
    let start = cursor.span();
    if !cursor.take_word("WINDOW") && *cursor.peek_nth(1) != Token::LParen {
        return Err(cursor
            .expected("WINDOW(…) after the columns")
            .with_hint("such as WINDOW('length', 5)"));
    }
    let mut rewriter = Rewriter::default();
    let window = rewriter.window_spec(cursor, start)?;
    rewriter.refuse_relations()?;
    let output = if cursor.take_word("OUTPUT") {
        let Some(events) = events(cursor) else {
            return Err(cursor.expected("CURRENT, EXPIRED or ALL after OUTPUT"));
        };
        cursor.expect_word("EVENTS", "at the end of OUTPUT")?;
        Some(events)
    } else {
        None
    };
    let options = with_options(cursor)?;
    Ok(StatementKind::CreateWindow(CreateWindow {
        name,
        columns,
        window,
        output,
        options,
        span: cursor.span_from(header.start),
    }))
}

/// `CURRENT | EXPIRED | ALL`.
pub(crate) fn events(cursor: &mut Cursor<'_>) -> Option<OutputEvents> {
    let known = [
        ("CURRENT", OutputEvents::Current),
        ("EXPIRED", OutputEvents::Expired),
        ("ALL", OutputEvents::All),
    ];
    known
        .into_iter()
        .find(|(word, _)| cursor.take_word(word))
        .map(|(_, events)| events)
}

fn trigger(cursor: &mut Cursor<'_>, header: Header, name: Ident) -> Result<StatementKind, ParseError> {
    const FORMS: &str = "a trigger fires AT START, AT EVERY 5 SECONDS or AT CRON '0 0 9 * * ?'";
    if !cursor.take_word("AT") {
        return Err(cursor.expected("AT after the trigger's name").with_hint(FORMS));
    }
    let start = cursor.span();
    let schedule = if cursor.take_word("START") {
        TriggerSchedule::Start
    } else if cursor.take_word("EVERY") {
        let end = cursor.find(Cursor::is_empty);
        let every = Rewriter::plain_duration(*cursor)?;
        cursor.jump(&end);
        TriggerSchedule::Every(every)
    } else if cursor.take_word("CRON") {
        let Token::SingleQuotedString(text) = cursor.peek() else {
            return Err(cursor.expected("the cron fields in quotes").with_hint(FORMS));
        };
        cursor.advance();
        TriggerSchedule::Cron(text.clone())
    } else {
        return Err(cursor.expected("START, EVERY or CRON after AT").with_hint(FORMS));
    };
    Ok(StatementKind::CreateTrigger(CreateTrigger {
        name,
        schedule,
        schedule_span: cursor.span_from(start),
        span: cursor.span_from(header.start),
    }))
}

fn function(cursor: &mut Cursor<'_>, header: Header, name: Ident) -> Result<StatementKind, ParseError> {
    let mut inside = cursor.expect_group("and the function's parameters")?;
    let mut params = Vec::new();
    while !inside.is_empty() {
        let name = inside.ident("a parameter")?;
        let (data_type, type_span) = data_type(&mut inside, "the parameter's type")?;
        params.push(FunctionParam {
            name,
            data_type,
            type_span,
        });
        if !inside.is_empty() {
            inside.expect(&Token::Comma, "between parameters")?;
            if inside.is_empty() {
                return Err(inside.expected("a parameter after the comma"));
            }
        }
    }
    cursor.expect_word("RETURNS", "after the parameters")?;
    let (returns, returns_span) = data_type(cursor, "the return type")?;
    cursor.expect_word("LANGUAGE", "after the return type")?;
    let language = cursor.ident("a language")?;
    cursor.expect_word("AS", "before the body")?;
    let body_span = cursor.span();
    let Token::SingleQuotedString(body) = cursor.peek() else {
        return Err(cursor.expected("the body in quotes").with_hint("such as AS 'x + 1'"));
    };
    cursor.advance();
    Ok(StatementKind::CreateFunction(CreateFunction {
        name,
        params,
        returns,
        returns_span,
        language,
        body: body.clone(),
        body_span,
        or_replace: header.or_replace,
        span: cursor.span_from(header.start),
    }))
}
