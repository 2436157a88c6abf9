//! Texts out of tokens: signatures and descriptions, as people read them.

use proc_macro2::{Spacing, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, Expr, ExprLit, Lit, Meta};

/// Tokens as their author would write them: `Vec<Option<u8>>`, not `Vec < Option < u8 > >`.
pub(crate) fn of_type(tokens: &impl ToTokens) -> String {
    let mut text = String::new();
    write(&mut text, tokens.to_token_stream());
    text
}

fn write(text: &mut String, tokens: TokenStream) {
    let mut is_arrow = false;
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    proc_macro2::Delimiter::Parenthesis => ("(", ")"),
                    proc_macro2::Delimiter::Brace => ("{", "}"),
                    proc_macro2::Delimiter::Bracket => ("[", "]"),
                    proc_macro2::Delimiter::None => ("", ""),
                };
                text.push_str(open);
                write(text, group.stream());
                text.push_str(close);
            }
            TokenTree::Punct(punct) => {
                let mark = punct.as_char();
                match mark {
                    '-' if punct.spacing() == Spacing::Joint => text.push_str(" -"),
                    '>' if is_arrow => text.push_str("> "),
                    ',' | ';' => text.extend([mark, ' ']),
                    '=' | '+' => text.extend([' ', mark, ' ']),
                    _ => text.push(mark),
                }
                is_arrow = mark == '-';
            }
            TokenTree::Ident(_) | TokenTree::Literal(_) => {
                if text.ends_with(|last: char| last.is_alphanumeric() || last == '_') {
                    text.push(' ');
                }
                text.push_str(token.to_string().trim_start_matches("r#"));
            }
        }
    }
}

/// The first paragraph of doc comments, in one line.
pub(crate) fn of_docs(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| {
        let Meta::NameValue(doc) = &attribute.meta else {
            return None;
        };
        match &doc.value {
            Expr::Lit(ExprLit {
                lit: Lit::Str(text), ..
            }) if doc.path.is_ident("doc") => Some(text.value()),
            _ => None,
        }
    });
    // One comment of the form /** … */ is one text of many lines.
    let text: Vec<String> = lines.collect();
    let lines = text.iter().flat_map(|text| text.split('\n'));
    let trimmed = lines.map(|line| line.trim().trim_start_matches("* "));
    let paragraph = trimmed
        .skip_while(|line| line.is_empty())
        .take_while(|line| !line.is_empty());
    paragraph.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use quote::quote;
    use syn::parse_quote;

    use super::*;

    #[test]
    fn types_are_written_as_people_write_them() {
        for (tokens, text) in [
            (quote!(f64), "f64"),
            (quote!(Vec<Option<u8>>), "Vec<Option<u8>>"),
            (
                quote!(HashMap<String, (u8, [i32; 4])>),
                "HashMap<String, (u8, [i32; 4])>",
            ),
            (quote!(std::time::Duration), "std::time::Duration"),
            (
                quote!(Box<dyn Fn(u8) -> u8 + Send>),
                "Box<dyn Fn(u8) -> u8 + Send>",
            ),
            (quote!(()), "()"),
            (quote!(r#type::Kind), "type::Kind"),
        ] {
            assert_eq!(of_type(&tokens), text);
        }
    }

    #[test]
    fn a_description_is_the_first_paragraph() {
        let attributes: Vec<Attribute> = vec![
            parse_quote!(#[doc = " Adds two"]),
            parse_quote!(#[doc = " numbers."]),
            parse_quote!(#[doc(hidden)]),
            parse_quote!(#[doc = ""]),
            parse_quote!(#[doc = " # Errors"]),
        ];
        assert_eq!(of_docs(&attributes), "Adds two numbers.");
        assert_eq!(of_docs(&[]), "");
    }
}
