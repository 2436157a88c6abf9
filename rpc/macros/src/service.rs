//! The trait of a service: what it says, whether it can be one, and what is made of it.

use std::collections::HashMap;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote};
use syn::ext::IdentExt;
use syn::punctuated::Punctuated;
use syn::{
    Attribute, FnArg, Item, ItemTrait, Path, Token, TraitItem, TypeParamBound, Visibility, parse_quote,
};

use crate::attribute::OfService;
use crate::errors::Errors;
use crate::method::Method;
use crate::{client, server};

/// What a trait has besides the methods of its author.
pub(crate) const INTO_METHODS: &str = "into_methods";

/// A trait that is a service.
pub(crate) struct Service {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) name: Ident,
    pub(crate) client: Ident,
    pub(crate) supertraits: Punctuated<TypeParamBound, Token![+]>,
    pub(crate) methods: Vec<Method>,
    /// Where flexbond-rpc is.
    pub(crate) krate: Path,
    /// What the client calls its service: a name that no type of the trait has.
    pub(crate) carrier: Ident,
}

/// What stands in place of the trait.
pub(crate) fn expand(arguments: TokenStream, item: TokenStream, default_crate: &str) -> TokenStream {
    let mut errors = Errors::default();
    let said = OfService::parse(arguments, &mut errors);
    let item: Item = match syn::parse2(item) {
        Ok(item) => item,
        Err(error) => return error.into_compile_error(),
    };
    let Item::Trait(item) = item else {
        errors.here(
            Span::call_site(),
            "a service is a trait: write `#[service]` above `trait Name { … }`, and implement that",
        );
        let errors = errors.into_tokens();
        return quote!(#errors #item);
    };
    let as_written = item.clone();
    let service = Service::parse(item, said, default_crate, &mut errors);
    match errors.into_tokens() {
        Some(errors) => {
            let plain = plain(as_written);
            quote!(#errors #plain)
        }
        None => {
            let (server, client) = (server::expand(&service), client::expand(&service));
            quote!(#server #client)
        }
    }
}

/// The trait without what is ours: where it is wrong, its implementations shall not be, too.
fn plain(mut item: ItemTrait) -> TokenStream {
    item.items
        .retain(|item| !matches!(item, TraitItem::Macro(_) | TraitItem::Verbatim(_)));
    for item in &mut item.items {
        let TraitItem::Fn(method) = item else { continue };
        method.attrs.retain(|attribute| !attribute.path().is_ident("rpc"));
        for input in &mut method.sig.inputs {
            if let FnArg::Typed(input) = input {
                input.attrs.clear();
                *input.pat = parse_quote!(_);
            }
        }
    }
    quote!(#[allow(async_fn_in_trait, dead_code)] #item)
}

impl Service {
    fn parse(item: ItemTrait, said: OfService, default_crate: &str, errors: &mut Errors) -> Self {
        let carrier = unused(&["S", "Carrier", "CarrierOfCalls"], &item.to_token_stream());
        check(&item, errors);
        let prefix = said.name.as_ref().map(syn::LitStr::value);
        let mut methods = Vec::new();
        for item in item.items {
            match item {
                TraitItem::Fn(function) => {
                    methods.extend(Method::parse(function, prefix.as_deref(), errors));
                }
                TraitItem::Const(constant) => errors.at(
                    constant,
                    "a service has methods only: a constant belongs outside of the trait",
                ),
                TraitItem::Type(associated) => errors.at(
                    associated,
                    "a service has methods only, whose types are the same for everybody: name the type itself",
                ),
                other => errors.at(other, "a service has methods only: write `async fn name(&self, …) -> …;`"),
            }
        }
        check_names(&methods, errors);
        let client = said
            .client
            .unwrap_or_else(|| format_ident!("{}Client", item.ident.unraw()));
        let krate = said.krate.or_else(|| errors.keep(syn::parse_str(default_crate)));
        Service {
            attributes: item.attrs,
            vis: item.vis,
            name: item.ident,
            client,
            supertraits: item.supertraits,
            methods,
            // Without the path there is an error, and nothing refers to it.
            krate: krate.unwrap_or_else(|| carrier.clone().into()),
            carrier,
        }
    }
}

/// Whether the trait is more than a list of methods.
fn check(item: &ItemTrait, errors: &mut Errors) {
    if let Some(token) = item.unsafety {
        errors.at(token, "a service is no unsafe trait: remove `unsafe`");
    }
    if let Some(token) = item.modifiers.auto_token {
        errors.at(token, "a service is no auto trait: remove `auto`");
    }
    if !item.generics.params.is_empty() {
        errors.at(
            &item.generics,
            "a service has neither type parameters nor lifetimes, for its callers could not name them: write the types \
             themselves",
        );
    }
    if let Some(clause) = &item.generics.where_clause {
        errors.at(
            clause,
            "a service has no conditions: write what its implementations must be behind the colon",
        );
    }
}

/// Whether the methods have names of their own.
fn check_names(methods: &[Method], errors: &mut Errors) {
    let mut known: HashMap<&str, &Ident> = HashMap::new();
    for method in methods {
        let name = method.name();
        if name.unraw() == INTO_METHODS {
            errors.here(
                name.span(),
                format_args!(
                    "`{INTO_METHODS}` is what the trait gets from `#[service]`: call the method differently, and say \
                     `#[rpc(name = \"{INTO_METHODS}\")]` if that is its name on the wire"
                ),
            );
        }
        if let Some(first) = known.insert(&method.wire, name) {
            errors.here(
                method.wire_span,
                format_args!(
                    "`{}` is the name of two methods on the wire, `{first}` and `{name}`: give one another by \
                     `#[rpc(name = \"…\")]`",
                    method.wire
                ),
            );
        }
    }
}

impl Service {
    /// Something of the module `expansion`, at this place: what does not fit in there is said of it.
    pub(crate) fn expansion_at(&self, span: Span, name: &str) -> TokenStream {
        let (krate, name) = (&self.krate, Ident::new(name, span));
        let here = |mut token: TokenTree| {
            token.set_span(span);
            token
        };
        quote!(#krate::expansion::#name).into_iter().map(here).collect()
    }
}

/// The first of these names that does not occur.
fn unused(names: &[&str], tokens: &TokenStream) -> Ident {
    let name = names.iter().find(|name| !contains(tokens.clone(), name));
    Ident::new(name.unwrap_or(&"__CarrierOfCalls"), Span::call_site())
}

/// Whether a name occurs in the tokens.
pub(crate) fn contains(tokens: TokenStream, name: &str) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == name,
        TokenTree::Group(group) => contains(group.stream(), name),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}
