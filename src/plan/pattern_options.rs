//! `WITH (max_instances = …, overflow = …)` of a pattern.

use eventflux_sqlparser::OptionDef;

use super::text::Text;
use crate::config::app_options::{PATTERN_INSTANCES, PATTERN_OVERFLOW};
use crate::config::layers::{Layers, wrong_value};
use crate::config::nearest::nearest;
use crate::error::{Code, Diagnostic};
use crate::patterns::bounds::{Bound, DEFAULT_BOUND, Overflow};

const MAX_INSTANCES: &str = "max_instances";
const OVERFLOW: &str = "overflow";

/// How many attempts at a pattern may be open unless it says: `pattern.max_instances` and `pattern.overflow` of the app.
pub(super) fn configured(layers: &Layers) -> Result<Bound, Diagnostic> {
    let mut bound = DEFAULT_BOUND;
    if let Some(option) = layers.of_app(PATTERN_INSTANCES) {
        bound
            .set_most(&option.value)
            .map_err(|what| wrong_value(option, &what))?;
    }
    if let Some(option) = layers.of_app(PATTERN_OVERFLOW) {
        bound
            .set_overflow(&option.value)
            .map_err(|what| wrong_value(option, &what))?;
    }
    Ok(bound)
}

/// How many attempts at a pattern may be open: what it says itself, else `default`.
pub(super) fn bound(options: &[OptionDef], default: Bound, text: &Text) -> Result<Bound, Diagnostic> {
    let mut bound = default;
    for option in options {
        let value = option.value.text.as_str();
        let wrong = match option.key.to_lowercase().as_str() {
            MAX_INSTANCES => bound.set_most(value),
            OVERFLOW => bound.set_overflow(value),
            key => {
                let message = format!("a pattern has no option '{}'", option.key);
                let error = Diagnostic::new(Code::UnknownOption, message);
                let error = match nearest(key, [MAX_INSTANCES, OVERFLOW]) {
                    Some(near) => error.hint(format!("did you mean '{near}'?")),
                    None => error.hint(format!("it has {MAX_INSTANCES} and {OVERFLOW}")),
                };
                return Err(text.at(error, option.key_span));
            }
        };
        wrong.map_err(|what| {
            let error = Diagnostic::new(Code::OptionValue, format!("'{}' is {what}", option.key));
            text.at(error, option.value_span)
        })?;
    }
    Ok(bound)
}

impl Bound {
    /// Sets how many may be open; otherwise what the value must be.
    pub(crate) fn set_most(&mut self, value: &str) -> Result<(), String> {
        let most = value.replace('_', "").parse::<usize>();
        match most.ok().filter(|most| (1..=Bound::LARGEST).contains(most)) {
            Some(most) => {
                self.most = most;
                Ok(())
            }
            None => Err(format!("a number from 1 to {}", Bound::LARGEST)),
        }
    }

    /// Sets what happens to those beyond; otherwise what the value must be.
    pub(crate) fn set_overflow(&mut self, value: &str) -> Result<(), String> {
        match Overflow::parse(&value.to_lowercase()) {
            Some(overflow) => {
                self.overflow = overflow;
                Ok(())
            }
            None => Err(format!("one of {}", Overflow::NAMES.join(", "))),
        }
    }
}
