//! The variables of MATCH_RECOGNIZE and their unions, and the pattern of them.

use eventflux_sqlparser::{RowPattern, RowPatternKind, Subset};
use sqlparser::ast::Ident;

use super::text::Text;
use crate::catalog::names::{Resolved, resolve};
use crate::config::nearest::nearest;
use crate::error::{Code, Diagnostic};
use crate::row_patterns::pattern::{MAX_VARIABLES, Pattern, Preference, Variable, Variables, all, only};

/// What variables and their unions are called.
#[derive(Debug, Clone, Default)]
pub struct VariableNames {
    /// In the order of PATTERN.
    names: Vec<Ident>,
    subsets: Vec<(String, Variables)>,
}

impl VariableNames {
    /// The variables of a pattern, and the pattern.
    pub fn of_pattern(pattern: &RowPattern, text: &Text) -> Result<(Self, Pattern), Diagnostic> {
        let mut names = VariableNames::default();
        let pattern = names.pattern(pattern, text)?;
        Ok((names, pattern))
    }

    /// Recursion goes as deep as brackets, which the dialect bounds.
    fn pattern(&mut self, part: &RowPattern, text: &Text) -> Result<Pattern, Diagnostic> {
        let parts = |names: &mut Self, parts: &[RowPattern]| -> Result<Vec<Pattern>, Diagnostic> {
            parts.iter().map(|part| names.pattern(part, text)).collect()
        };
        let body = match &part.kind {
            RowPatternKind::Variable(ident) => Pattern::Row(self.variable(ident, text)?),
            RowPatternKind::Concat(inner) => Pattern::Concat(parts(self, inner)?),
            RowPatternKind::Alternation(inner) => Pattern::Alternation(parts(self, inner)?),
            RowPatternKind::Permute(inner) => Pattern::Permute(parts(self, inner)?),
            RowPatternKind::Group(inner) => self.pattern(inner, text)?,
            RowPatternKind::Exclude(inner) => Pattern::Exclude(Box::new(self.pattern(inner, text)?)),
            RowPatternKind::Empty => Pattern::Empty,
            RowPatternKind::Start => Pattern::Start,
            RowPatternKind::End => Pattern::End,
        };
        Ok(match part.quantifier {
            None => body,
            Some(quantifier) => Pattern::Repeat {
                body: Box::new(body),
                min: quantifier.min,
                max: quantifier.max,
                preference: match quantifier.reluctant {
                    true => Preference::Reluctant,
                    false => Preference::Greedy,
                },
            },
        })
    }

    /// The number of a variable where PATTERN names it. Another case is the same variable, unless one of them is quoted.
    fn variable(&mut self, ident: &Ident, text: &Text) -> Result<Variable, Diagnostic> {
        let exact = self.names.iter().position(|name| name.value == ident.value);
        let known = exact.or_else(|| {
            let same = |name: &Ident| {
                let unquoted = name.quote_style.is_none() && ident.quote_style.is_none();
                unquoted && name.value.eq_ignore_ascii_case(&ident.value)
            };
            self.names.iter().position(same)
        });
        if let Some(known) = known {
            return Ok(known as Variable);
        }
        if self.names.len() == MAX_VARIABLES {
            let message = format!("a pattern has at most {MAX_VARIABLES} variables");
            return Err(text.at(Diagnostic::new(Code::Limit, message), ident.span));
        }
        self.names.push(ident.clone());
        Ok((self.names.len() - 1) as Variable)
    }

    /// Adds SUBSET.
    pub fn add_subsets(&mut self, subsets: &[Subset], text: &Text) -> Result<(), Diagnostic> {
        for subset in subsets {
            let name = &subset.name;
            let taken = |known: &str| known == name.value;
            if self.names.iter().any(|known| taken(&known.value)) || self.subsets.iter().any(|(known, _)| taken(known))
            {
                let message = format!("two variables are called '{}'", name.value);
                return Err(text.at(Diagnostic::new(Code::Duplicate, message), name.span));
            }
            let mut variables = 0;
            for member in &subset.members {
                variables |= only(self.primary(member, text)?);
            }
            self.subsets.push((name.value.clone(), variables));
        }
        Ok(())
    }

    /// A variable of the pattern itself.
    pub fn primary(&self, ident: &Ident, text: &Text) -> Result<Variable, Diagnostic> {
        let names = self.names.iter().map(|name| name.value.as_str());
        if let Resolved::One(exact) = resolve(&ident.value, names) {
            let place = self.names.iter().position(|name| name.value == exact);
            return Ok(place.unwrap_or_default() as Variable);
        }
        let union = self.subsets.iter().any(|(name, _)| *name == ident.value);
        let error = match union {
            true => Diagnostic::new(
                Code::Type,
                format!("'{}' is a SUBSET, not a variable of the pattern", ident.value),
            ),
            false => self.unknown(ident),
        };
        Err(text.at(error, ident.span))
    }

    /// A variable or a union of them.
    pub fn find(&self, ident: &Ident) -> Option<Variables> {
        let known = || {
            let names = self.names.iter().map(|name| name.value.as_str());
            names.chain(self.subsets.iter().map(|(name, _)| name.as_str()))
        };
        let Resolved::One(exact) = resolve(&ident.value, known()) else {
            return None;
        };
        let variable = self.names.iter().position(|name| name.value == exact);
        let variable = variable.map(|place| only(place as Variable));
        variable.or_else(|| {
            let union = self.subsets.iter().find(|(name, _)| name == exact);
            union.map(|(_, variables)| *variables)
        })
    }

    /// Whether a name is one in its exact case.
    pub fn is_exactly(&self, ident: &Ident) -> bool {
        let union = || self.subsets.iter().any(|(name, _)| *name == ident.value);
        self.names.iter().any(|name| name.value == ident.value) || union()
    }

    /// The error of a name that is none.
    pub fn unknown(&self, ident: &Ident) -> Diagnostic {
        let names: Vec<&str> = self
            .names
            .iter()
            .map(|name| name.value.as_str())
            .chain(self.subsets.iter().map(|(name, _)| name.as_str()))
            .collect();
        let message = format!("the pattern has no variable '{}'", ident.value);
        let error = Diagnostic::new(Code::UnknownColumn, message);
        match nearest(&ident.value, names.iter().copied()) {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None => error.hint(format!("it has: {}", names.join(", "))),
        }
    }

    /// All variables.
    pub fn all(&self) -> Variables {
        all(self.names.len())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// What a variable is called.
    pub fn name(&self, variable: Variable) -> &str {
        &self.names[variable as usize].value
    }

    /// What all are called.
    pub fn names(&self) -> Vec<String> {
        self.names.iter().map(|name| name.value.clone()).collect()
    }

    /// What some variables are called together; `None` for all.
    pub fn called(&self, variables: Variables) -> Option<String> {
        if variables == self.all() {
            return None;
        }
        if variables.count_ones() == 1 {
            return Some(self.name(variables.trailing_zeros() as Variable).to_string());
        }
        let union = self.subsets.iter().find(|(_, union)| *union == variables);
        union.map(|(name, _)| name.clone())
    }

    /// The same before a column, with the dot.
    pub fn prefix(&self, variables: Variables) -> String {
        self.called(variables)
            .map_or_else(String::new, |name| format!("{name}."))
    }
}
