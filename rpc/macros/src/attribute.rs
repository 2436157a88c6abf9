//! What stands in `#[service(…)]` and `#[rpc(…)]`.

use std::time::Duration;

use proc_macro2::{Ident, Span, TokenStream};
use syn::meta::ParseNestedMeta;
use syn::parse::Parser;
use syn::{Attribute, Error, Lit, LitStr, Path, Result};

use crate::errors::Errors;

/// What a method's or a service's name may have, in bytes, as the envelope has it.
const MAX_NAME: usize = 255;

/// What `#[service(…)]` says.
#[derive(Default)]
pub(crate) struct OfService {
    /// What the names of the methods begin with; without its dot.
    pub(crate) name: Option<LitStr>,
    /// What the client is called.
    pub(crate) client: Option<Ident>,
    /// Where flexbond-rpc is.
    pub(crate) krate: Option<Path>,
}

/// What `#[rpc(…)]` says.
#[derive(Default)]
pub(crate) struct OfMethod {
    /// The name on the wire, without that of the service.
    pub(crate) name: Option<LitStr>,
    /// That callers wait for no answer; where that stands.
    pub(crate) one_way: Option<Span>,
    /// That the method may run twice without harm.
    pub(crate) idempotent: bool,
    /// How long callers wait.
    pub(crate) timeout: Option<Duration>,
}

impl OfService {
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut said = OfService::default();
        let parser = syn::meta::parser(|meta| {
            if meta.path.is_ident("name") {
                let name = named(&meta)?;
                once(&meta, &mut said.name, name)
            } else if meta.path.is_ident("client") {
                let client = meta.value()?.parse()?;
                once(&meta, &mut said.client, client)
            } else if meta.path.is_ident("crate") {
                let path = meta.value()?.call(Path::parse_mod_style)?;
                once(&meta, &mut said.krate, path)
            } else {
                Err(meta.error(
                    "unknown: a service has `name = \"…\"`, `client = Name` and `crate = path::to::flexbond_rpc`",
                ))
            }
        });
        errors.keep(parser.parse2(tokens));
        said
    }
}

impl OfMethod {
    /// Takes `#[rpc(…)]` out of the attributes of a method.
    pub(crate) fn take(attributes: &mut Vec<Attribute>, errors: &mut Errors) -> Self {
        let mut said = OfMethod::default();
        attributes.retain(|attribute| {
            let is_ours = attribute.path().is_ident("rpc");
            if is_ours {
                errors.keep(attribute.parse_nested_meta(|meta| said.handle(&meta)));
            }
            !is_ours
        });
        said
    }

    fn handle(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        if meta.path.is_ident("name") {
            let name = named(meta)?;
            once(meta, &mut self.name, name)
        } else if meta.path.is_ident("timeout") {
            let text: Lit = meta.value()?.parse()?;
            let known = match &text {
                Lit::Str(text) => duration(&text.value()),
                _ => None,
            };
            let timeout = known.ok_or_else(|| {
                Error::new(
                    text.span(),
                    "no duration: write a whole number and a unit, such as \"5s\", \"250ms\", \"2min\" or \"1h\"",
                )
            })?;
            once(meta, &mut self.timeout, timeout)
        } else if meta.path.is_ident("one_way") {
            let span = meta.path.segments[0].ident.span();
            once(meta, &mut self.one_way, span)
        } else if meta.path.is_ident("idempotent") {
            self.idempotent = true;
            Ok(())
        } else {
            Err(meta.error(
                "unknown: a method has `name = \"…\"`, `timeout = \"5s\"`, `idempotent` and `one_way`",
            ))
        }
    }
}

fn once<T>(meta: &ParseNestedMeta<'_>, slot: &mut Option<T>, value: T) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(meta.error("said twice: remove one")),
    }
}

fn named(meta: &ParseNestedMeta<'_>) -> Result<LitStr> {
    let name: LitStr = meta.value()?.parse()?;
    match name.value().len() {
        0 => Err(Error::new(
            name.span(),
            "the name is empty: remove it, or write one",
        )),
        1..=MAX_NAME => Ok(name),
        len => Err(Error::new(
            name.span(),
            format!("a name of {len} bytes: it may have {MAX_NAME}"),
        )),
    }
}

/// Checks a name as it stands on the wire.
pub(crate) fn check_wire_name(name: &str) -> std::result::Result<(), String> {
    match name.len() {
        0..=MAX_NAME if name.starts_with("flexbond.") => Err(format!(
            "`{name}` begins with `flexbond.`, as the server's own methods do: give it another name"
        )),
        0..=MAX_NAME => Ok(()),
        len => Err(format!(
            "its name is {len} bytes long on the wire, more than {MAX_NAME}: give it another by `#[rpc(name = \"…\")]`"
        )),
    }
}

/// A whole number with its unit.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let unit = text.find(|digit: char| !digit.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit);
    let number: u64 = number.parse().ok()?;
    match unit.trim_start() {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "min" => Some(Duration::from_secs(number.checked_mul(60)?)),
        "h" => Some(Duration::from_secs(number.checked_mul(3600)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        for (text, seconds) in [("5s", 5.0), ("250ms", 0.25), ("2 min", 120.0), (" 1h ", 3600.0)] {
            assert_eq!(duration(text), Some(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "5", "s", "5 parsecs", "-1s", "1.5s", "99999999999999999999s"] {
            assert_eq!(duration(text), None, "{text}");
        }
        assert_eq!(duration("99999999999999999h"), None, "too long");
    }

    #[test]
    fn names_are_those_of_the_envelope() {
        assert_eq!(check_wire_name("telescope.point"), Ok(()));
        assert!(check_wire_name("flexbond.health").is_err());
        assert_eq!(check_wire_name(&"x".repeat(255)), Ok(()));
        assert!(check_wire_name(&"x".repeat(256)).is_err());
    }
}
