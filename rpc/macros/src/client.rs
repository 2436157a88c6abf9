//! The client of a service.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::spanned::Spanned;

use crate::method::{Method, Parameter};
use crate::server::arguments;
use crate::service::Service;

pub(crate) fn expand(service: &Service) -> TokenStream {
    let Service {
        vis,
        name,
        client,
        krate,
        carrier,
        ..
    } = service;
    let cfgs = service
        .attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"));
    let cfgs = quote!(#(#cfgs)*);
    let methods = service.methods.iter().map(|method| called(service, method));
    let summary =
        format!("Calls the methods of a [`{name}`] somewhere else. A clone uses the same connection.");
    let details = format!(
        " `{client}::connect(endpoint)` connects to one; `{client}::new(service)` calls by any tower service, such as \
         layers around a client; and `{client}::from(caller)` has more to say. A method of the trait that is called \
         `connect` or `new` itself takes the place of these."
    );
    let connect = constructor(
        service,
        "connect",
        quote! {
            #cfgs
            #[allow(dead_code)]
            impl #client {
                /// Connects to the server at `endpoint`, with default options. The connection is made in the background;
                /// calls wait for it.
                ///
                /// # Errors
                /// What can never be connected to.
                #vis fn connect(
                    endpoint: impl #krate::expansion::IntoEndpoint,
                ) -> ::core::result::Result<Self, #krate::ClientError> {
                    let client = #krate::Client::connect(endpoint)?;
                    let caller = #krate::typed::Caller::new(client);
                    ::core::result::Result::Ok(#client { caller })
                }
            }
        },
    );
    let new = constructor(
        service,
        "new",
        quote! {
            #cfgs
            #[allow(dead_code)]
            impl<#carrier: 'static> #client<#carrier> {
                /// Calls by this service.
                #[must_use]
                #vis fn new(service: #carrier) -> Self {
                    #client { caller: #krate::typed::Caller::new(service) }
                }
            }
        },
    );
    quote! {
        #cfgs
        #[doc = #summary]
        #[doc = ""]
        #[doc = #details]
        #[allow(dead_code)]
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        #vis struct #client<#carrier = #krate::Client> {
            caller: #krate::typed::Caller<#carrier>,
        }

        #connect
        #new

        #cfgs
        impl<#carrier> ::core::convert::From<#krate::typed::Caller<#carrier>> for #client<#carrier> {
            fn from(caller: #krate::typed::Caller<#carrier>) -> Self {
                #client { caller }
            }
        }

        #cfgs
        #[allow(dead_code, clippy::all, clippy::pedantic)]
        impl<#carrier: #krate::typed::CallService> #client<#carrier> {
            #(#methods)*
        }
    }
}

/// A constructor, unless a method of the trait has its name.
fn constructor(service: &Service, name: &str, tokens: TokenStream) -> TokenStream {
    let is_taken = service.methods.iter().any(|method| method.name().unraw() == name);
    if is_taken { TokenStream::new() } else { tokens }
}

fn called(service: &Service, method: &Method) -> TokenStream {
    let Service {
        vis, krate, carrier, ..
    } = service;
    let attributes = method.attributes(&["doc", "cfg", "deprecated"]);
    let name = method.name();
    let parameters = method.parameters.iter().filter_map(|parameter| match parameter {
        Parameter::Argument { name, ty, .. } => Some(quote!(#name: #ty)),
        Parameter::Incoming { name, of } => Some(quote! {
            #name: impl #krate::expansion::Stream<Item = #of> + ::core::marker::Send + 'static
        }),
        Parameter::Context { .. } => None,
    });
    let value = &method.answer.value;
    let answer = if method.answer.is_stream {
        quote!(#krate::Values<#value>)
    } else {
        quote!(#value)
    };
    let incoming = method.incoming().map(|(name, _)| quote!(, #name));
    // The type of the answer is written out, so that the compiler points to it when it cannot be read.
    let (call, types) = match (method.answer.is_stream, incoming.is_some()) {
        _ if method.one_way => ("call_one_way", quote!(_, _)),
        (false, false) => ("call", quote!(_, _, #value)),
        (true, false) => ("call_stream", quote!(_, _, #value)),
        (false, true) => ("call_upload", quote!(_, _, _, #value)),
        (true, true) => ("call_conversation", quote!(_, _, _, #value)),
    };
    let call = service.expansion_at(value.span(), call);
    let timeout = match method.timeout.map(|timeout| timeout.as_millis() as u64) {
        Some(milliseconds) => {
            quote!(::core::option::Option::Some(::core::time::Duration::from_millis(#milliseconds)))
        }
        None => quote!(::core::option::Option::None),
    };
    let (wire, idempotent) = (&method.wire, method.idempotent);
    let (declaration, arguments, _) = arguments(service, method, "Serialize");
    quote! {
        #(#attributes)*
        #vis fn #name(&self, #(#parameters),*) -> #krate::typed::Invocation<#carrier, #answer> {
            #declaration
            const CALLED: #krate::expansion::Called = #krate::expansion::Called {
                method: #wire,
                idempotent: #idempotent,
                timeout: #timeout,
            };
            #call::<#types>(&self.caller, &CALLED, &#arguments #incoming)
        }
    }
}
