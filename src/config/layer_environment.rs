//! Configuration from environment variables: `EVENTFLUX__STREAMS__TRADES__FILE__PATH=trades.json`.

use super::app_options::{APP_OPTIONS, APPLICATION_OPTIONS, of_the_app};
use super::layer::{Entry, Layer, Named, Owner, Scope, not_configured, unknown_of_server};
use super::nearest::nearest;
use super::options::RawOption;
use super::server::server_options;
use crate::error::{Code, Diagnostic, SourceText};

/// How the names begin.
const PREFIX: &str = "EVENTFLUX__";

/// The layer of all variables that are ours, in the order of their names.
pub(super) fn layer(variables: impl Iterator<Item = (String, String)>) -> Result<Layer, Diagnostic> {
    let mut own: Vec<(String, String)> = variables.filter(|(name, _)| name.starts_with(PREFIX)).collect();
    own.sort();
    let mut layer = Layer::default();
    for (name, value) in own {
        variable(&mut layer, &name, value)?;
    }
    Ok(layer)
}

fn variable(layer: &mut Layer, name: &str, value: String) -> Result<(), Diagnostic> {
    // Only the name is shown: the value may be a secret.
    let source = SourceText::new("environment", name);
    let at = |error: Diagnostic| {
        let mut error = error.at(0..name.len());
        error.source = Some(source.clone());
        error
    };
    let parts: Vec<&str> = name[PREFIX.len()..].split("__").collect();
    let (scope, key) = match parts.as_slice() {
        ["APPLICATION", key @ ..] if !key.is_empty() => of_application(&key.join(".")).map_err(at)?,
        ["SERVER", key @ ..] if !key.is_empty() => of_server(&key.join(".")).map_err(at)?,
        ["STREAMS", stream, key @ ..] if !key.is_empty() => {
            let named = named(layer, Owner::Stream, stream, &at);
            (named, of_owner(stream, key).map_err(at)?)
        }
        ["TABLES", table, key @ ..] if !key.is_empty() => {
            let named = named(layer, Owner::Table, table, &at);
            (named, of_owner(table, key).map_err(at)?)
        }
        _ => {
            let error = Diagnostic::new(
                Code::UnknownOption,
                format!("the environment variable {name} names no option"),
            );
            let hint = "write EVENTFLUX__APPLICATION__OPTION, EVENTFLUX__SERVER__OPTION, EVENTFLUX__STREAMS__NAME__OPTION or EVENTFLUX__TABLES__NAME__OPTION";
            return Err(at(error.hint(hint)));
        }
    };
    let option = RawOption {
        key,
        key_span: Some(0..name.len()),
        value,
        value_span: Some(0..name.len()),
        source: Some(source.clone()),
        secret: false,
        loose: true,
    };
    layer.options.push(Entry { scope, option });
    Ok(())
}

/// The scope of a stream or a table, whose name is noted.
fn named(layer: &mut Layer, owner: Owner, name: &str, at: &dyn Fn(Diagnostic) -> Diagnostic) -> Scope {
    let message = format!("the app has no {} '{name}', in whatever case", owner.singular());
    layer.named.push(Named {
        owner,
        name: name.to_string(),
        unknown: at(Diagnostic::new(Code::UnknownStream, message)),
    });
    Scope::AnyCase(owner, name.to_string())
}

/// The option of a stream or a table that the parts of a name stand for.
fn of_owner(owner: &str, parts: &[&str]) -> Result<String, Diagnostic> {
    let key = parts.join(".").to_ascii_lowercase();
    match of_the_app(&key, owner) {
        Some(why) => Err(not_configured(&key).hint(why)),
        None => Ok(key),
    }
}

/// The option of `[application]` that a name stands for.
fn of_application(name: &str) -> Result<(Scope, String), Diagnostic> {
    let is_it = |known: &str| stands_for(name, known);
    if let Some(known) = APPLICATION_OPTIONS.iter().find(|known| is_it(known)) {
        return Ok((Scope::Application, known.to_string()));
    }
    if let Some(spec) = APP_OPTIONS.iter().find(|spec| is_it(spec.name)) {
        return Ok((Scope::App, spec.name.to_string()));
    }
    let name = name.to_ascii_lowercase();
    let error = Diagnostic::new(Code::UnknownOption, format!("[application] has no option '{name}'"));
    let known = APPLICATION_OPTIONS
        .iter()
        .copied()
        .chain(APP_OPTIONS.iter().map(|spec| spec.name));
    Err(match nearest(&name, known.clone()) {
        Some(near) => error.hint(format!("did you mean '{near}'?")),
        None => error.hint(format!("it has: {}", known.collect::<Vec<_>>().join(", "))),
    })
}

/// The option of `[server]` that a name stands for.
fn of_server(name: &str) -> Result<(Scope, String), Diagnostic> {
    let spec = server_options().find(|spec| stands_for(name, spec.name));
    let unknown = || unknown_of_server(&name.to_ascii_lowercase());
    spec.map(|spec| (Scope::Server, spec.name.to_string()))
        .ok_or_else(unknown)
}

/// Whether a name from the environment, its parts joined by dots, is that of an option: in any case, and with underscores for hyphens.
pub(super) fn stands_for(name: &str, option: &str) -> bool {
    let same = |one: u8, other: u8| one.eq_ignore_ascii_case(&other) || one == b'_' && other == b'-';
    name.len() == option.len() && name.bytes().zip(option.bytes()).all(|(one, other)| same(one, other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Layer, Diagnostic> {
        layer(
            variables
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string())),
        )
    }

    #[test]
    fn names_become_keys() {
        let layer = of(&[
            ("HOME", "/h"),
            ("EVENTFLUX__APPLICATION__STATE__TTL", "5 s"),
            ("EVENTFLUX__APPLICATION__PATTERN__MAX_INSTANCES", "7"),
            ("EVENTFLUX__STREAMS__MY_TRADES__JSON__MAX_RECORD_BYTES", "100"),
        ])
        .unwrap();
        let found: Vec<_> = layer
            .options
            .iter()
            .map(|entry| (&entry.scope, entry.option.key.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                (&Scope::App, "pattern.max_instances"),
                (&Scope::Application, "state.ttl"),
                (
                    &Scope::AnyCase(Owner::Stream, "MY_TRADES".into()),
                    "json.max_record_bytes"
                ),
            ]
        );
        assert!(layer.options[2].scope.is_of(Owner::Stream, "My_Trades"));
    }

    #[test]
    fn what_names_nothing_is_an_error_without_the_value() {
        for (name, hint) in [
            ("EVENTFLUX__APPLICATION__STATE__TTLS", "did you mean 'state.ttl'?"),
            (
                "EVENTFLUX__STREAMS__TRADES__FORMAT",
                "it decides what the other options of",
            ),
            ("EVENTFLUX__TABLES__LIMITS__ID", "it says which saved state"),
            ("EVENTFLUX__TABLES__LIMITS", "write EVENTFLUX__APPLICATION__OPTION"),
            ("EVENTFLUX__STREAMS__TRADES", "write EVENTFLUX__APPLICATION__OPTION"),
            ("EVENTFLUX__", "write EVENTFLUX__APPLICATION__OPTION"),
        ] {
            let error = of(&[(name, "s3cret")]).unwrap_err();
            assert!(
                error.hint.clone().unwrap_or_default().starts_with(hint),
                "{name}: {error:?}"
            );
            assert!(!error.render(crate::error::Colour::Never).contains("s3cret"));
        }
    }
}
