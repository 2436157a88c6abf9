//! A method of a service: what it says, and whether it can be called from elsewhere.

use std::time::Duration;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{
    Attribute, FnArg, GenericArgument, Pat, PatType, PathArguments, PathSegment, ReceiverKind, ReturnType,
    Safety, Signature, TraitItemFn, Type, TypeParamBound,
};

use crate::attribute::{OfMethod, check_wire_name};
use crate::errors::Errors;
use crate::service::contains;
use crate::text;

/// A method.
pub(crate) struct Method {
    /// As it stands in the trait, without what is ours.
    pub(crate) item: TraitItemFn,
    /// The name on the wire, and what it is of.
    pub(crate) wire: String,
    pub(crate) wire_span: Span,
    /// All but the receiver, in order.
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) answer: Answer,
    pub(crate) one_way: bool,
    pub(crate) idempotent: bool,
    pub(crate) timeout: Option<Duration>,
}

/// What a method takes.
pub(crate) enum Parameter {
    /// A value of the body.
    Argument {
        name: Ident,
        ty: Type,
        /// `#[serde(…)]`.
        attributes: Vec<Attribute>,
    },
    /// Who calls.
    Context { by_reference: bool },
    /// The values that come behind the body.
    Incoming { name: Ident, of: Type },
}

/// What a method answers.
pub(crate) struct Answer {
    /// The type of the answer, or of each item of it.
    pub(crate) value: Type,
    pub(crate) is_stream: bool,
    /// Of what type a failure is, or `_` where only the compiler knows.
    pub(crate) failure: TokenStream,
}

impl Method {
    /// Reads a method; none if there is no sense in looking further.
    pub(crate) fn parse(mut item: TraitItemFn, prefix: Option<&str>, errors: &mut Errors) -> Option<Self> {
        let said = OfMethod::take(&mut item.attrs, errors);
        check_form(&item, errors);
        check_receiver(&item.sig, errors);
        let parameters = parameters(&mut item.sig, errors);
        let answer = Answer::parse(&item.sig, errors);

        let own = match &said.name {
            Some(name) => name.value(),
            None => item.sig.ident.unraw().to_string(),
        };
        let wire = match prefix {
            Some(prefix) => format!("{prefix}.{own}"),
            None => own,
        };
        let wire_span = said
            .name
            .as_ref()
            .map_or(item.sig.ident.span(), syn::LitStr::span);
        if let Err(wrong) = check_wire_name(&wire) {
            errors.here(wire_span, wrong);
        }
        let answer = answer?;
        if let Some(span) = said.one_way
            && (answer.is_stream || text::of_type(&answer.value) != "()")
        {
            errors.here(
                span,
                "nobody waits for what a one-way method answers: let it return `Result<(), …>`",
            );
        }
        if let Some(span) = said.one_way
            && parameters
                .iter()
                .any(|parameter| matches!(parameter, Parameter::Incoming { .. }))
        {
            errors.here(
                span,
                "a one-way method takes no stream, for nobody would hear how it went: remove `one_way` or `Incoming`",
            );
        }
        Some(Method {
            wire,
            wire_span,
            parameters,
            answer,
            one_way: said.one_way.is_some(),
            idempotent: said.idempotent,
            timeout: said.timeout,
            item,
        })
    }

    pub(crate) fn name(&self) -> &Ident {
        &self.item.sig.ident
    }

    /// The arguments in the body: attributes, name and type of each.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = (&[Attribute], &Ident, &Type)> {
        self.parameters.iter().filter_map(|parameter| match parameter {
            Parameter::Argument { name, ty, attributes } => Some((&attributes[..], name, ty)),
            Parameter::Context { .. } | Parameter::Incoming { .. } => None,
        })
    }

    /// What comes behind the body, if anything does.
    pub(crate) fn incoming(&self) -> Option<(&Ident, &Type)> {
        self.parameters.iter().find_map(|parameter| match parameter {
            Parameter::Incoming { name, of } => Some((name, of)),
            Parameter::Argument { .. } | Parameter::Context { .. } => None,
        })
    }

    /// The attributes that hold for all that is made of the method.
    pub(crate) fn attributes(&self, names: &[&str]) -> Vec<&Attribute> {
        let is_one = |attribute: &&Attribute| names.iter().any(|name| attribute.path().is_ident(name));
        self.item.attrs.iter().filter(is_one).collect()
    }

    /// The arguments in the body, for people: `a: f64, b: f64`.
    pub(crate) fn taken(&self) -> String {
        let arguments = self.arguments();
        let said = arguments.map(|(_, name, ty)| format!("{}: {}", name.unraw(), text::of_type(ty)));
        said.collect::<Vec<_>>().join(", ")
    }

    /// What the method takes and answers, for people: `(a: f64, values: stream f64) -> f64`.
    pub(crate) fn signature(&self) -> String {
        let mut taken = self.taken();
        if let Some((name, of)) = self.incoming() {
            let comma = if taken.is_empty() { "" } else { ", " };
            taken += &format!("{comma}{}: stream {}", name.unraw(), text::of_type(of));
        }
        let stream = if self.answer.is_stream { "stream " } else { "" };
        format!("({taken}) -> {stream}{}", text::of_type(&self.answer.value))
    }
}

/// Whether it is an async function without more.
fn check_form(item: &TraitItemFn, errors: &mut Errors) {
    let signature = &item.sig;
    let name = &signature.ident;
    if signature.asyncness.is_none() {
        errors.at(
            signature.fn_token,
            format_args!("a call takes time: write `async fn {name}`"),
        );
    }
    if let Some(token) = signature.constness {
        errors.at(token, "a call cannot be made at compile time: remove `const`");
    }
    if let Safety::Unsafe(token) = signature.safety {
        errors.at(token, "callers elsewhere can promise nothing: remove `unsafe`");
    }
    if let Some(abi) = &signature.abi {
        errors.at(abi, "callers come by messages: remove the ABI");
    }
    if let Some(variadic) = &signature.variadic {
        errors.at(
            variadic,
            "arguments have names and types: write a `Vec` in place of `...`",
        );
    }
    if !signature.generics.params.is_empty() {
        errors.at(
            &signature.generics,
            "a method of a service has neither type parameters nor lifetimes, for they cannot be sent: write the types \
             themselves",
        );
    }
    if let Some(clause) = &signature.generics.where_clause {
        errors.at(clause, "a method of a service has no conditions: remove them");
    }
    if let Some(body) = &item.default {
        errors.at(
            body,
            "a method of a service has no body here, for clients have the trait, too: write `;`, and the body where \
             the trait is implemented",
        );
    }
}

fn check_receiver(signature: &Signature, errors: &mut Errors) {
    let name = &signature.ident;
    let Some(receiver) = signature.receiver() else {
        errors.at(
            name,
            format_args!("a method is called on the service: write `async fn {name}(&self, …)`"),
        );
        return;
    };
    match &receiver.kind {
        ReceiverKind::Reference(_, _, None) => {}
        ReceiverKind::Reference(_, _, Some(_)) => errors.at(
            receiver,
            "calls run at the same time and share the service: write `&self`, and keep what changes in a mutex or an \
             atomic",
        ),
        _ => errors.at(receiver, "the service is there for the next call, too: write `&self`"),
    }
}

/// The parameters, of which only what rustc knows stays in the signature.
fn parameters(signature: &mut Signature, errors: &mut Errors) -> Vec<Parameter> {
    let mut found: Vec<Parameter> = Vec::new();
    let mut names: Vec<Ident> = Vec::new();
    let mut has_context = false;
    // One is enough to be last behind; which was seen first does not matter.
    let mut incoming: Option<TokenStream> = None;
    for input in &mut signature.inputs {
        let FnArg::Typed(input) = input else { continue };
        let attributes = take_serde(input, errors);
        let Some(name) = name_of(input, errors) else {
            continue;
        };
        if names.contains(&name) {
            errors.here(
                name.span(),
                format_args!("there is an argument `{name}` already: give it another name"),
            );
        }
        names.push(name.clone());
        if let Some(by_reference) = is_context(&input.ty) {
            if std::mem::replace(&mut has_context, true) {
                errors.at(&*input, "the context is always the same: one is enough");
            }
            found.push(Parameter::Context { by_reference });
            continue;
        }
        if let Some(of) = of_incoming(&input.ty) {
            check_type(of, "an item", errors);
            if incoming.replace(input.to_token_stream()).is_some() {
                errors.at(
                    &*input,
                    "a call carries one stream: put what both have into one `Incoming` of an enum",
                );
            }
            found.push(Parameter::Incoming { name, of: of.clone() });
            continue;
        }
        check_type(&input.ty, "an argument", errors);
        if let Some(incoming) = &incoming {
            errors.at(
                incoming,
                "a stream comes behind the arguments: write `Incoming` last",
            );
        }
        found.push(Parameter::Argument {
            name,
            ty: (*input.ty).clone(),
            attributes,
        });
    }
    found
}

fn take_serde(input: &mut PatType, errors: &mut Errors) -> Vec<Attribute> {
    let (ours, others): (Vec<_>, Vec<_>) = std::mem::take(&mut input.attrs)
        .into_iter()
        .partition(|attribute| attribute.path().is_ident("serde"));
    input.attrs = others;
    if let Some(cfg) = input
        .attrs
        .iter()
        .find(|attribute| attribute.path().is_ident("cfg"))
    {
        errors.at(
            cfg,
            "an argument is there or not for all callers alike: write `cfg` above the method",
        );
    }
    ours
}

fn name_of(input: &PatType, errors: &mut Errors) -> Option<Ident> {
    match &*input.pat {
        Pat::Ident(pat) if pat.by_ref.is_none() && pat.mutability.is_none() && pat.subpat.is_none() => {
            Some(pat.ident.clone())
        }
        pattern => {
            errors.at(
                pattern,
                "callers send arguments by name: write a name and a type, and take it apart where the trait is \
                 implemented",
            );
            None
        }
    }
}

/// A type without the groups that macros put around it.
fn bare(mut ty: &Type) -> &Type {
    loop {
        ty = match ty {
            Type::Group(group) => &group.elem,
            Type::Paren(paren) => &paren.elem,
            other => return other,
        };
    }
}

/// The last part of a type's path, if it is called so.
fn last<'a>(ty: &'a Type, name: &str) -> Option<&'a PathSegment> {
    match bare(ty) {
        Type::Path(path) if path.qself.is_none() => {
            path.path.segments.last().filter(|last| last.ident == name)
        }
        _ => None,
    }
}

/// The types between the angle brackets.
fn types(segment: &PathSegment) -> impl Iterator<Item = &Type> {
    let arguments = match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => Some(&arguments.args),
        _ => None,
    };
    arguments
        .into_iter()
        .flatten()
        .filter_map(|argument| match argument {
            GenericArgument::Type(ty) => Some(ty),
            _ => None,
        })
}

/// Whether a type is `Context`, and if so whether by reference.
fn is_context(ty: &Type) -> Option<bool> {
    match bare(ty) {
        Type::Reference(reference) if reference.mutability.is_none() => {
            last(&reference.elem, "Context").map(|_| true)
        }
        ty => last(ty, "Context").map(|_| false),
    }
}

/// The items of `Incoming`.
fn of_incoming(ty: &Type) -> Option<&Type> {
    types(last(ty, "Incoming")?).next()
}

impl Answer {
    fn parse(signature: &Signature, errors: &mut Errors) -> Option<Self> {
        let name = &signature.ident;
        let advice = "a call can fail: write";
        let ReturnType::Type(_, ty) = &signature.output else {
            errors.here(
                name.span(),
                format_args!("`{name}` returns no `Result`, but {advice} `-> Result<(), Failure>`"),
            );
            return None;
        };
        let Some(value) = last(ty, "Result").and_then(|result| types(result).next()) else {
            let text = text::of_type(ty);
            errors.at(
                ty,
                format_args!("`{name}` returns no `Result`, but {advice} `-> Result<{text}, Failure>`"),
            );
            return None;
        };
        let failure = last(ty, "Result").and_then(|result| types(result).nth(1));
        let failure = failure.map_or_else(|| quote_spanned!(ty.span()=> _), ToTokens::to_token_stream);
        let Type::ImplTrait(stream) = bare(value) else {
            check_type(value, "an answer", errors);
            return Some(Answer {
                value: value.clone(),
                is_stream: false,
                failure,
            });
        };
        match item_of(&stream.bounds) {
            Some(item) => {
                check_type(item, "an item", errors);
                Some(Answer {
                    value: item.clone(),
                    is_stream: true,
                    failure,
                })
            }
            None => {
                errors.at(
                    stream,
                    "an answer of many items is a stream of results: write \
                     `impl Stream<Item = Result<Type, Failure>>`",
                );
                None
            }
        }
    }
}

/// `T` of `Stream<Item = Result<T, …>>`.
fn item_of<'a>(bounds: impl IntoIterator<Item = &'a TypeParamBound>) -> Option<&'a Type> {
    let mut segments = bounds.into_iter().filter_map(|bound| match bound {
        TypeParamBound::Trait(bound) => bound.path.segments.last(),
        _ => None,
    });
    let stream = segments.find(|segment| segment.ident == "Stream")?;
    let PathArguments::AngleBracketed(arguments) = &stream.arguments else {
        return None;
    };
    let item = arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(item) if item.ident == "Item" => Some(&item.ty),
        _ => None,
    })?;
    types(last(item, "Result")?).next()
}

/// Whether a type can be sent as far as its tokens tell.
fn check_type(ty: &Type, what: &str, errors: &mut Errors) {
    let tokens = ty.to_token_stream();
    if contains(tokens.clone(), "impl") {
        errors.at(
            ty,
            format_args!("{what} has one type, for it is sent: write the type itself"),
        );
    } else if contains(tokens.clone(), "Self") {
        errors.at(
            ty,
            format_args!("{what} has a type that callers know, too: write it in place of `Self`"),
        );
    } else if let Type::Reference(reference) = bare(ty) {
        let owned = match bare(&reference.elem) {
            Type::Slice(slice) => format!("Vec<{}>", text::of_type(&slice.elem)),
            elem if text::of_type(elem) == "str" => "String".to_owned(),
            elem => text::of_type(elem),
        };
        errors.at(
            ty,
            format_args!(
                "{what} is sent, and cannot refer to anything: write `{owned}` in place of the reference"
            ),
        );
    } else if borrows(tokens) {
        errors.at(
            ty,
            format_args!(
                "{what} is sent, and cannot refer to anything: write a type without references and lifetimes"
            ),
        );
    }
}

/// Whether there is a reference or a lifetime, other than `'static`, anywhere inside.
fn borrows(tokens: TokenStream) -> bool {
    let mut is_lifetime = false;
    tokens.into_iter().any(|token| match token {
        TokenTree::Punct(punct) => {
            is_lifetime = punct.as_char() == '\'';
            punct.as_char() == '&'
        }
        TokenTree::Ident(ident) => std::mem::take(&mut is_lifetime) && ident != "static",
        TokenTree::Group(group) => borrows(group.stream()),
        TokenTree::Literal(_) => false,
    })
}
