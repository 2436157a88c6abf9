//! The attribute of `flexbond-rpc` that makes a typed client and a server of a trait. It is documented there, as
//! `flexbond_rpc::service`, and used by way of that crate.
//!
//! Below it is nothing of flexbond; what it writes refers to the hidden module `expansion` of `flexbond-rpc`.

mod attribute;
mod client;
mod errors;
mod method;
mod server;
mod service;
mod text;

/// Makes a typed client and a server of a trait, for crates that depend on `flexbond-rpc`.
#[proc_macro_attribute]
pub fn service(arguments: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    service::expand(arguments.into(), item.into(), "::flexbond_rpc").into()
}

/// Makes a typed client and a server of a trait, for crates that depend on `flexbond`.
#[proc_macro_attribute]
pub fn service_of_flexbond(
    arguments: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    service::expand(arguments.into(), item.into(), "::flexbond::rpc").into()
}
