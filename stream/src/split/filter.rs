//! Which messages pass, by a field of their header: `htype = dimage-1.0 && frame % 10 = 0`.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Number, Value};

use crate::Header;

mod parser;

pub use parser::{FilterError, FilterErrorKind};

/// A condition on the header of a message.
///
/// ```text
/// filter     = terms { "||" terms }            any of them
/// terms      = term { "&&" term }              all of them
/// term       = [ "!" ] field                   the field is there (is not there)
///            | field [ "%" number ] op value
/// op         = "=" | "==" | "!=" | "<" | "<=" | ">" | ">="
/// field      = letters, digits, "_", "-"; "." leads into an object: global_timestamp.sec
/// value      = number | true | false | null | word | "quoted \"text\"" | 'quoted text'
/// ```
///
/// - Numbers are compared as numbers, whole ones exactly; everything else only for equality.
/// - A value that looks like a number equals a text of the same characters, too: `run = 12` lets `"run": "12"` pass.
/// - A list (`tags`) equals a value if one of its elements does.
/// - `%` is for whole numbers.
/// - A field that is not there, or cannot be compared, fails every comparison but `!=`, which is always the contrary of
///   `=`.
///
/// A filter is at most 4096 bytes long, also when it is written with spaces and quotes where they belong.
///
/// ```
/// use flexbond_stream::Header;
/// use flexbond_stream::split::Filter;
///
/// let filter: Filter = "htype=dimage-1.0 && frame%10=0".parse()?;
/// let image = |frame: u64| Header::new("dimage-1.0").with("frame", frame);
/// assert!(filter.matches(&image(20)) && !filter.matches(&image(21)));
///
/// let error = "frame ~ 5".parse::<Filter>().unwrap_err();
/// assert_eq!(error.position(), 6);
/// # Ok::<(), flexbond_stream::split::FilterError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Filter {
    /// Any of these, of which all.
    any: Vec<Vec<Term>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Term {
    Present { field: String, is: bool },
    Compare(Comparison),
}

#[derive(Clone, Debug, PartialEq)]
struct Comparison {
    field: String,
    modulus: Option<NonZeroU64>,
    op: Op,
    value: Operand,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What a field is compared with.
#[derive(Clone, Debug, PartialEq)]
struct Operand {
    value: Value,
    /// The characters, where the value is no text: a text may have the same ones.
    text: String,
}

impl Filter {
    /// The longest filter, in bytes.
    pub const MAX_SIZE: usize = 4096;

    /// Whether a message with this header passes.
    #[must_use]
    pub fn matches(&self, header: &Header) -> bool {
        let passes = |terms: &Vec<Term>| terms.iter().all(|term| term.matches(header));
        self.any.iter().any(passes)
    }

    /// Whether a message passes as far as can be told from the fields that it has; `None` when that depends on one that
    /// it has not.
    pub(super) fn verdict(&self, header: &Header) -> Option<bool> {
        let all = |terms: &Vec<Term>| decide(false, terms.iter().map(|term| term.verdict(header)));
        decide(true, self.any.iter().map(all))
    }
}

/// What one verdict alone decides, or all together; open verdicts leave it open.
fn decide(alone: bool, verdicts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut together = Some(!alone);
    for verdict in verdicts {
        match verdict {
            Some(verdict) if verdict == alone => return Some(alone),
            Some(_) => {}
            None => together = None,
        }
    }
    together
}

impl Term {
    fn matches(&self, header: &Header) -> bool {
        match self {
            Term::Present { field, is } => lookup(header, field).is_some() == *is,
            Term::Compare(comparison) => comparison.matches(lookup(header, &comparison.field)),
        }
    }

    fn verdict(&self, header: &Header) -> Option<bool> {
        match self {
            Term::Present { .. } => Some(self.matches(header)),
            Term::Compare(comparison) => {
                lookup(header, &comparison.field).map(|value| comparison.matches(Some(value)))
            }
        }
    }
}

/// A field, or one inside an object. `null` is as good as nothing, but can be asked for.
fn lookup<'a>(header: &'a Header, field: &str) -> Option<&'a Value> {
    header.get(field).or_else(|| {
        let (first, rest) = field.split_once('.')?;
        rest.split('.')
            .try_fold(header.get(first)?, |value, key| value.get(key))
    })
}

impl Comparison {
    fn matches(&self, value: Option<&Value>) -> bool {
        match self.op {
            Op::Equal => value.is_some_and(|value| self.is_equal(value)),
            Op::NotEqual => !value.is_some_and(|value| self.is_equal(value)),
            op => {
                let (Some(Value::Number(value)), Value::Number(bound)) = (value, &self.value.value) else {
                    return false;
                };
                let ordering = match self.modulus {
                    None => compare(value, bound),
                    Some(modulus) => remainder(value, modulus).and_then(|rest| compare(&rest, bound)),
                };
                ordering.is_some_and(|ordering| match op {
                    Op::Less => ordering.is_lt(),
                    Op::LessOrEqual => ordering.is_le(),
                    Op::Greater => ordering.is_gt(),
                    _ => ordering.is_ge(),
                })
            }
        }
    }

    fn is_equal(&self, value: &Value) -> bool {
        match (value, &self.value.value) {
            (Value::Array(values), _) => values.iter().any(|value| self.is_equal_single(value)),
            (value, _) => self.is_equal_single(value),
        }
    }

    fn is_equal_single(&self, value: &Value) -> bool {
        match (value, &self.value.value) {
            (Value::Number(value), Value::Number(other)) => match self.modulus {
                None => compare(value, other).is_some_and(std::cmp::Ordering::is_eq),
                Some(modulus) => remainder(value, modulus)
                    .and_then(|rest| compare(&rest, other))
                    .is_some_and(std::cmp::Ordering::is_eq),
            },
            _ if self.modulus.is_some() => false,
            (Value::String(value), _) => *value == self.value.text,
            (value, other) => value == other,
        }
    }
}

/// Whole numbers exactly, all others as floating-point numbers.
fn compare(a: &Number, b: &Number) -> Option<std::cmp::Ordering> {
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

fn whole(number: &Number) -> Option<i128> {
    let signed = || number.as_i64().map(i128::from);
    number.as_u64().map(i128::from).or_else(signed)
}

fn remainder(number: &Number, modulus: NonZeroU64) -> Option<Number> {
    let rest = whole(number)?.rem_euclid(i128::from(modulus.get()));
    u64::try_from(rest).ok().map(Number::from)
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let filter = parser::parse(text)?;
        // What is written, to a file of a split for instance, must be readable.
        let written = filter.to_string().len();
        match written > Self::MAX_SIZE {
            true => Err(FilterError::too_long(written)),
            false => Ok(filter),
        }
    }
}

impl TryFrom<String> for Filter {
    type Error = FilterError;

    fn try_from(text: String) -> Result<Self, FilterError> {
        text.parse()
    }
}

/// The filter in a form that can be parsed again.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, terms) in self.any.iter().enumerate() {
            if index > 0 {
                f.write_str(" || ")?;
            }
            for (index, term) in terms.iter().enumerate() {
                if index > 0 {
                    f.write_str(" && ")?;
                }
                term.fmt(f)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Term::Present { field, is: true } => f.write_str(field),
            Term::Present { field, is: false } => write!(f, "!{field}"),
            Term::Compare(Comparison {
                field,
                modulus,
                op,
                value,
            }) => {
                f.write_str(field)?;
                if let Some(modulus) = modulus {
                    write!(f, " % {modulus}")?;
                }
                let op = match op {
                    Op::Equal => "=",
                    Op::NotEqual => "!=",
                    Op::Less => "<",
                    Op::LessOrEqual => "<=",
                    Op::Greater => ">",
                    Op::GreaterOrEqual => ">=",
                };
                write!(f, " {op} ")?;
                match &value.value {
                    Value::String(text) => {
                        f.write_str("\"")?;
                        for character in text.chars() {
                            if matches!(character, '"' | '\\') {
                                f.write_str("\\")?;
                            }
                            write!(f, "{character}")?;
                        }
                        f.write_str("\"")
                    }
                    _ => f.write_str(&value.text),
                }
            }
        }
    }
}

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests;
