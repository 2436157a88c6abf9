//! From the text of a filter to the filter; every error says where.

use std::fmt;
use std::num::NonZeroU64;

use serde_json::{Number, Value};
use thiserror::Error;

use super::{Comparison, Filter, Op, Operand, Term};

/// What is wrong with the text of a filter, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    kind: FilterErrorKind,
    position: usize,
}

/// What is wrong with the text of a filter.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FilterErrorKind {
    /// It is longer than [`Filter::MAX_SIZE`], or would be when it is written out.
    #[error("the filter has {0} bytes when it is written out, more than {max}", max = Filter::MAX_SIZE)]
    TooLong(usize),
    /// The name of a field must be here.
    #[error("the name of a field is missing")]
    NoField,
    /// A comparison, `&&`, `||` or the end must be here.
    #[error("`{0}` is none of =, !=, <, <=, >, >=, %, && and ||")]
    NoOperator(String),
    /// What a field is compared with must be here.
    #[error("a value is missing")]
    NoValue,
    /// After `%` there must be a whole number from 1 on.
    #[error("`%` needs a whole number from 1 on")]
    NoModulus,
    /// After `%` and its number there must be a comparison.
    #[error("`%` needs a comparison: field % 10 = 0")]
    NoRemainder,
    /// `%`, `<` and `>` compare with numbers only.
    #[error("{0} compares with numbers only")]
    NotANumber(&'static str),
    /// `!` asks whether a field is there; it does not turn a comparison round.
    #[error("`!{0}` asks whether {0} is missing; for the contrary of `=` write {0} != value")]
    Negated(String),
    /// A value begins like an operator.
    #[error("a value that begins with `{0}` must be quoted; comparisons are <= and >=")]
    LikeOperator(char),
    /// A quoted text has no end.
    #[error("the quoted text has no end")]
    OpenQuote,
    /// A character in a quoted text is escaped that needs not be.
    #[error("only the quote and \\ may be escaped, by a \\ before them")]
    BadEscape,
}

impl FilterError {
    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> &FilterErrorKind {
        &self.kind
    }

    /// Where, in bytes from the beginning.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    pub(super) fn too_long(size: usize) -> Self {
        FilterError {
            kind: FilterErrorKind::TooLong(size),
            position: Filter::MAX_SIZE,
        }
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.position, self.kind)
    }
}

impl std::error::Error for FilterError {}

pub(super) fn parse(text: &str) -> Result<Filter, FilterError> {
    if text.len() > Filter::MAX_SIZE {
        return Err(FilterError::too_long(text.len()));
    }
    let mut parser = Parser { text, position: 0 };
    let mut any = vec![vec![parser.term()?]];
    loop {
        parser.skip_space();
        if parser.rest().is_empty() {
            return Ok(Filter { any });
        }
        if parser.eat("||") {
            any.push(vec![parser.term()?]);
        } else if parser.eat("&&") {
            let term = parser.term()?;
            if let Some(all) = any.last_mut() {
                all.push(term);
            }
        } else {
            return Err(parser.no_operator());
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    /// Always at the beginning of a character.
    position: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.position..).unwrap_or_default()
    }

    fn error(&self, kind: FilterErrorKind) -> FilterError {
        FilterError {
            kind,
            position: self.position,
        }
    }

    fn no_operator(&self) -> FilterError {
        let found: String = self.rest().chars().take(1).collect();
        self.error(FilterErrorKind::NoOperator(found))
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.position += rest.len() - rest.trim_start().len();
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.position += token.len();
        }
        found
    }

    /// As many characters as `belongs` says.
    fn take(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|character| !belongs(character)).unwrap_or(rest.len());
        self.position += end;
        rest.get(..end).unwrap_or_default()
    }

    fn term(&mut self) -> Result<Term, FilterError> {
        self.skip_space();
        if self.eat("!") {
            self.skip_space();
            let field = self.field()?;
            self.skip_space();
            if self.rest().starts_with(['=', '!', '<', '>', '%']) {
                return Err(self.error(FilterErrorKind::Negated(field)));
            }
            return Ok(Term::Present { field, is: false });
        }
        let field = self.field()?;
        self.skip_space();
        let modulus = match self.eat("%") {
            true => Some(self.modulus()?),
            false => None,
        };
        self.skip_space();
        // The longer ones first.
        let ops = [
            ("==", Op::Equal),
            ("!=", Op::NotEqual),
            ("<=", Op::LessOrEqual),
            (">=", Op::GreaterOrEqual),
            ("=", Op::Equal),
            ("<", Op::Less),
            (">", Op::Greater),
        ];
        let Some((_, op)) = ops.into_iter().find(|(token, _)| self.eat(token)) else {
            return match modulus {
                Some(_) => Err(self.error(FilterErrorKind::NoRemainder)),
                None => Ok(Term::Present { field, is: true }),
            };
        };
        self.skip_space();
        let position = self.position;
        let value = self.value()?;
        let numeric = match (modulus, op) {
            (Some(_), _) => Some("%"),
            (None, Op::Equal | Op::NotEqual) => None,
            (None, Op::Less | Op::LessOrEqual) => Some("<"),
            (None, Op::Greater | Op::GreaterOrEqual) => Some(">"),
        };
        match numeric {
            Some(op) if !value.value.is_number() => Err(FilterError {
                kind: FilterErrorKind::NotANumber(op),
                position,
            }),
            _ => Ok(Term::Compare(Comparison {
                field,
                modulus,
                op,
                value,
            })),
        }
    }

    fn field(&mut self) -> Result<String, FilterError> {
        let field =
            self.take(|character| character.is_alphanumeric() || matches!(character, '_' | '-' | '.'));
        match field {
            "" => Err(self.error(FilterErrorKind::NoField)),
            field => Ok(field.to_owned()),
        }
    }

    fn modulus(&mut self) -> Result<NonZeroU64, FilterError> {
        self.skip_space();
        let position = self.position;
        let digits = self.take(|character| character.is_ascii_digit());
        digits.parse().map_err(|_| FilterError {
            kind: FilterErrorKind::NoModulus,
            position,
        })
    }

    fn value(&mut self) -> Result<Operand, FilterError> {
        let first = self.rest().chars().next().unwrap_or_default();
        if matches!(first, '=' | '<' | '>' | '!') {
            return Err(self.error(FilterErrorKind::LikeOperator(first)));
        }
        if matches!(first, '"' | '\'') {
            let text = self.quoted(first)?;
            return Ok(Operand {
                value: Value::String(text.clone()),
                text,
            });
        }
        let word = self.take(|character| !character.is_whitespace() && !matches!(character, '&' | '|' | '"'));
        if word.is_empty() {
            return Err(self.error(FilterErrorKind::NoValue));
        }
        // Whatever is no number, true, false or null in JSON is a word.
        let value = match word {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Null,
            word => match word.parse::<Number>() {
                Ok(number) => Value::Number(number),
                Err(_) => Value::String(word.to_owned()),
            },
        };
        Ok(Operand {
            value,
            text: word.to_owned(),
        })
    }

    /// A text between two quotes, which are next.
    fn quoted(&mut self, quote: char) -> Result<String, FilterError> {
        let opening = self.position;
        let mut text = String::new();
        let mut escaped = false;
        for (offset, character) in self.rest().char_indices().skip(1) {
            match character {
                _ if escaped && (character == quote || character == '\\') => {
                    text.push(character);
                    escaped = false;
                }
                _ if escaped => {
                    self.position += offset - 1;
                    return Err(self.error(FilterErrorKind::BadEscape));
                }
                '\\' => escaped = true,
                _ if character == quote => {
                    self.position += offset + 1;
                    return Ok(text);
                }
                _ => text.push(character),
            }
        }
        Err(FilterError {
            kind: FilterErrorKind::OpenQuote,
            position: opening,
        })
    }
}
