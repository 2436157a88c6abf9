//! Types of elements as numpy spells them beside their names: `<u2`, `>f4`.

use crate::{ElementType, Endianness, UnknownElementType};

/// Kinds with their sizes in bytes, and Python's own names, that numpy takes for a type.
const ALIASES: [(&str, ElementType); 22] = [
    ("b1", ElementType::Bool),
    ("?", ElementType::Bool),
    ("i1", ElementType::Int8),
    ("i2", ElementType::Int16),
    ("i4", ElementType::Int32),
    ("i8", ElementType::Int64),
    ("u1", ElementType::UInt8),
    ("u2", ElementType::UInt16),
    ("u4", ElementType::UInt32),
    ("u8", ElementType::UInt64),
    ("f2", ElementType::Float16),
    ("f4", ElementType::Float32),
    ("f8", ElementType::Float64),
    ("c8", ElementType::Complex64),
    ("c16", ElementType::Complex128),
    ("half", ElementType::Float16),
    ("single", ElementType::Float32),
    ("double", ElementType::Float64),
    ("float", ElementType::Float64),
    ("complex", ElementType::Complex128),
    ("int", ElementType::Int64),
    ("uint", ElementType::UInt64),
];

/// The type that numpy makes of `text`, and the order of bytes where it says one. Python's `str(array.dtype)` is a name
/// for arrays in the machine's order, and `>u2` for others.
pub(crate) fn parse(text: &str) -> Result<(ElementType, Option<Endianness>), UnknownElementType> {
    if let Ok(element) = text.parse() {
        return Ok((element, None));
    }
    let (kind, endianness) = match text.split_at_checked(1) {
        Some(("<", kind)) => (kind, Some(Endianness::Little)),
        Some((">", kind)) => (kind, Some(Endianness::Big)),
        // The sender's order, which is not known here, and none at all.
        Some(("=" | "|", kind)) => (kind, None),
        _ => (text, None),
    };
    let known = ALIASES.iter().find(|alias| alias.0 == kind);
    known
        .map(|alias| (alias.1, endianness))
        .ok_or_else(|| UnknownElementType(text.to_owned()))
}

/// The type that a program in C means by a name by which numpy means one of twice the size. UFO writes `float` for its
/// floats of four bytes.
pub(crate) fn of_c(text: &str) -> Option<ElementType> {
    match text {
        "float" => Some(ElementType::Float32),
        "int" => Some(ElementType::Int32),
        "uint" => Some(ElementType::UInt32),
        _ => None,
    }
}

/// The name of a type whose bytes are in that order: numpy's plain one, or `>u2` where that would be wrong.
pub(crate) fn name(element: ElementType, endianness: Endianness) -> String {
    let kind = ALIASES.iter().find(|alias| alias.1 == element);
    match kind {
        Some((kind, _)) if endianness == Endianness::Big && element.size() > 1 => format!(">{kind}"),
        _ => element.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_the_order_where_it_is_not_the_usual_one() {
        for element in ElementType::all() {
            assert_eq!(name(element, Endianness::Little), element.name());
            let big = name(element, Endianness::Big);
            let order = (element.size() > 1).then_some(Endianness::Big);
            assert_eq!(parse(&big), Ok((element, order)), "{big}");
        }
        assert_eq!(name(ElementType::Complex128, Endianness::Big), ">c16");
    }

    #[test]
    fn the_names_of_c_have_half_the_size() {
        for text in ["float", "int", "uint"] {
            assert_eq!(
                2 * of_c(text).unwrap().size(),
                parse(text).unwrap().0.size(),
                "{text}"
            );
        }
        assert_eq!(of_c("double"), None);
    }

    #[test]
    fn what_numpy_understands_is_understood() {
        for (text, element, endianness) in [
            ("uint16", ElementType::UInt16, None),
            ("<u2", ElementType::UInt16, Some(Endianness::Little)),
            (">f4", ElementType::Float32, Some(Endianness::Big)),
            ("|u1", ElementType::UInt8, None),
            ("=i8", ElementType::Int64, None),
            ("c16", ElementType::Complex128, None),
            ("float", ElementType::Float64, None),
            ("?", ElementType::Bool, None),
        ] {
            assert_eq!(parse(text), Ok((element, endianness)), "{text}");
        }
        for text in ["", "<", "<>u2", "u3", "f16", "<U5", "datetime64[ns]", "é2", "O"] {
            assert_eq!(parse(text), Err(UnknownElementType(text.to_owned())), "{text}");
        }
    }
}
