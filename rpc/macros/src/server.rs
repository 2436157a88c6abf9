//! The trait as its implementations see it, and its methods as those of a server.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::visit_mut::VisitMut;
use syn::{ReturnType, TypeImplTrait};

use crate::method::{Method, Parameter};
use crate::service::{INTO_METHODS, Service};
use crate::text;

/// What our own variables are called: nothing of the user's can have the same name.
pub(crate) fn own(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

pub(crate) fn expand(service: &Service) -> TokenStream {
    let Service {
        attributes,
        vis,
        name,
        supertraits,
        krate,
        ..
    } = service;
    let declared = service.methods.iter().map(declared);
    let added = service.methods.iter().map(|method| added(service, method));
    let supertraits = supertraits.iter();
    let (methods, shared) = (own("methods"), own("service"));
    let into_methods = format_ident!("{INTO_METHODS}");
    quote! {
        #(#attributes)*
        #[allow(dead_code)]
        #vis trait #name: ::core::marker::Send + ::core::marker::Sync + 'static #(+ #supertraits)* {
            #(#declared)*

            /// The methods of this service, for a server.
            #[allow(deprecated, clippy::all, clippy::pedantic)]
            #[must_use]
            fn #into_methods(self) -> #krate::Methods
            where
                Self: ::core::marker::Sized,
            {
                let #shared = ::std::sync::Arc::new(self);
                let #methods = #krate::Methods::new();
                #(#added)*
                #methods
            }
        }
    }
}

/// A method as the trait has it: `async` written out, so that its future can be sent to another thread.
fn declared(method: &Method) -> TokenStream {
    let mut item = method.item.clone();
    item.sig.asyncness = None;
    if let ReturnType::Type(_, ty) = &mut item.sig.output {
        if method.answer.is_stream {
            Sendable.visit_type_mut(ty);
        }
        let future = quote_spanned! {ty.span()=>
            -> impl ::core::future::Future<Output = #ty> + ::core::marker::Send
        };
        let signature = {
            item.sig.output = ReturnType::Default;
            let (attributes, signature) = (&item.attrs, &item.sig);
            quote!(#(#attributes)* #signature)
        };
        return quote!(#signature #future;);
    }
    item.into_token_stream()
}

/// Streams of answers are sent to other threads as well.
struct Sendable;

impl VisitMut for Sendable {
    fn visit_type_impl_trait_mut(&mut self, stream: &mut TypeImplTrait) {
        stream.bounds.push(syn::parse_quote!(::core::marker::Send));
    }
}

/// The statement that adds a method to those of the server.
fn added(service: &Service, method: &Method) -> TokenStream {
    let Service { krate, name: of, .. } = service;
    let (methods, shared, context, outlet) = (own("methods"), own("service"), own("context"), own("outlet"));
    let name = method.name();
    let passed = method.parameters.iter().map(|parameter| match parameter {
        Parameter::Argument { name, .. } | Parameter::Incoming { name, .. } => quote!(#name),
        Parameter::Context { by_reference: true } => quote!(&#context),
        Parameter::Context { by_reference: false } => quote!(#context),
    });
    let failure = &method.answer.failure;
    let failed = service.expansion_at(failure.span(), "failed");
    let error = own("error");
    let answered = quote! {
        ::core::result::Result::map_err(<Self as #of>::#name(&#shared, #(#passed),*).await, |#error| #failed::<#failure>(#error))
    };
    let answering = if method.answer.is_stream {
        quote! {
            #krate::expansion::lend(move |#outlet| async move {
                let _ = &#context;
                #outlet.give(#answered?).await;
                ::core::result::Result::Ok(())
            })
        }
    } else {
        quote! {
            async move {
                let _ = &#context;
                #answered
            }
        }
    };
    let (declaration, pattern, ty) = arguments(service, method, "Deserialize");
    let (pattern, ty) = match method.incoming() {
        Some((name, of)) => (quote!((#pattern, #name)), quote!((#ty, #krate::Incoming<#of>))),
        None => (pattern, ty),
    };
    let value = method.answer.value.span();
    let add = match (method.answer.is_stream, method.incoming().is_some()) {
        (false, false) => quote_spanned!(value=> add),
        (true, false) => quote_spanned!(value=> add_stream),
        (false, true) => quote_spanned!(value=> add_upload),
        (true, true) => quote_spanned!(value=> add_conversation),
    };
    let cfgs = method.attributes(&["cfg"]);
    let (wire, signature) = (&method.wire, method.signature());
    let description = text::of_docs(&method.item.attrs);
    quote! {
        #(#cfgs)*
        let #methods = {
            #declaration
            let #shared = ::std::sync::Arc::clone(&#shared);
            let #methods = #methods.#add(#wire, move |#context: #krate::Context, #pattern: #ty| {
                let #shared = ::std::sync::Arc::clone(&#shared);
                #answering
            });
            #krate::expansion::added(#methods).describe(#wire, #signature, #description)
        };
    }
}

/// The arguments of a method as one value: its type (and a name for that), and the pattern or expression of it.
pub(crate) fn arguments(
    service: &Service,
    method: &Method,
    derive: &str,
) -> (TokenStream, TokenStream, TokenStream) {
    let krate = &service.krate;
    let (attributes, names, types) = {
        let mut columns = (Vec::new(), Vec::new(), Vec::new());
        for (attributes, name, ty) in method.arguments() {
            columns.0.push(attributes);
            columns.1.push(name);
            columns.2.push(ty);
        }
        columns
    };
    if names.is_empty() {
        let nothing = quote!(#krate::expansion::NoArguments);
        return (TokenStream::new(), nothing.clone(), nothing);
    }
    let serde = quote!(#krate::expansion::serde);
    let path = text::of_type(&serde);
    let expecting = format!("the arguments ({})", method.taken());
    // What is wrong with an argument as a whole is said of the method.
    let derive = Ident::new(derive, method.name().span());
    let at = service.expansion_at(method.name().span(), "serde");
    let declaration = quote! {
        #[derive(#at::#derive)]
        #[serde(crate = #path, deny_unknown_fields, expecting = #expecting)]
        struct __Arguments {
            #(#(#attributes)* #names: #types,)*
        }
    };
    (
        declaration,
        quote!(__Arguments { #(#names),* }),
        quote!(__Arguments),
    )
}
