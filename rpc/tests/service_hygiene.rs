//! Services in places and with names that a careless macro would trip over.
#![deny(warnings, missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
#![cfg(all(feature = "macros", feature = "inproc"))]

#[allow(clippy::pedantic)]
mod harness;

use flexbond_rpc::typed::Caller;
use flexbond_rpc::{Client, Failure, Methods, Server};
use harness::within;

async fn serve(methods: Methods, endpoint: &str) -> Client {
    let server = Server::new(methods);
    let endpoint = within("bind", server.bind(endpoint)).await.expect("bound");
    tokio::spawn(server.run());
    harness::client(&endpoint)
}

/// Nothing is imported here, and names of the prelude mean something else.
mod bare {
    #![allow(dead_code, non_camel_case_types)]

    struct Result;
    struct Option;
    struct Some;
    struct Ok;
    struct Err;
    struct Send;
    struct Clone;
    struct Arc;

    /// A type that is called as the client's parameter would be.
    #[derive(::serde::Serialize, ::serde::Deserialize)]
    pub(crate) struct S(pub(crate) u8);

    /// And as our arguments might be.
    #[derive(::serde::Serialize, ::serde::Deserialize)]
    pub(crate) struct Arguments(pub(crate) u8);

    #[flexbond_rpc::service]
    /// A service.
    pub(crate) trait Bare {
        /// Adds.
        async fn add(
            &self,
            s: S,
            arguments: Arguments,
        ) -> ::core::result::Result<u8, ::flexbond_rpc::Failure>;
    }

    /// It.
    #[derive(Debug)]
    pub(crate) struct It;

    impl Bare for It {
        async fn add(
            &self,
            s: S,
            arguments: Arguments,
        ) -> ::core::result::Result<u8, ::flexbond_rpc::Failure> {
            ::core::result::Result::Ok(s.0 + arguments.0)
        }
    }
}

#[tokio::test]
async fn names_of_the_prelude_may_mean_something_else() {
    use bare::Bare;
    let client = serve(bare::It.into_methods(), "inproc://hygiene-bare").await;
    let bare = bare::BareClient::new(client);
    let sum = within("add", bare.add(bare::S(1), bare::Arguments(2))).await;
    assert_eq!(sum, Ok(3));
}

/// Arguments with the names of what an expansion has.
#[flexbond_rpc::service]
trait Names {
    async fn all(
        &self,
        service: u8,
        methods: u8,
        context: u8,
        outlet: u8,
        client: u8,
        caller: u8,
    ) -> Result<Vec<u8>, Failure>;
    async fn raw(&self, r#type: u8, self_: u8, __arguments: u8) -> Result<u8, Failure>;
    async fn r#move(&self, r#in: u8) -> Result<u8, Failure>;
    async fn new(&self, name: String) -> Result<String, Failure>;
    async fn connect(&self, endpoint: String) -> Result<String, Failure>;
    async fn clone(&self, what: u8) -> Result<u8, Failure>;
    async fn from(&self, s: u8) -> Result<u8, Failure>;
    async fn call(&self) -> Result<u8, Failure>;
    #[deprecated = "for a reason"]
    async fn old(&self) -> Result<u8, Failure>;
    #[cfg(any())]
    async fn absent(&self, never: NoSuchType) -> Result<u8, Failure>;
    #[allow(clippy::unused_async)]
    async fn number(&self, #[serde(rename = "n")] number: Option<u8>) -> Result<Option<u8>, Failure>;
}

struct Named;

impl Names for Named {
    async fn all(
        &self,
        service: u8,
        methods: u8,
        context: u8,
        outlet: u8,
        client: u8,
        caller: u8,
    ) -> Result<Vec<u8>, Failure> {
        Ok(vec![service, methods, context, outlet, client, caller])
    }

    async fn raw(&self, r#type: u8, self_: u8, __arguments: u8) -> Result<u8, Failure> {
        Ok(r#type + self_ + __arguments)
    }

    async fn r#move(&self, r#in: u8) -> Result<u8, Failure> {
        Ok(r#in)
    }

    async fn new(&self, name: String) -> Result<String, Failure> {
        Ok(name)
    }

    async fn connect(&self, endpoint: String) -> Result<String, Failure> {
        Ok(endpoint)
    }

    async fn clone(&self, what: u8) -> Result<u8, Failure> {
        Ok(what)
    }

    async fn from(&self, s: u8) -> Result<u8, Failure> {
        Ok(s)
    }

    async fn call(&self) -> Result<u8, Failure> {
        Ok(1)
    }

    async fn old(&self) -> Result<u8, Failure> {
        Ok(2)
    }

    async fn number(&self, number: Option<u8>) -> Result<Option<u8>, Failure> {
        Ok(number)
    }
}

#[tokio::test]
async fn methods_and_arguments_may_be_called_as_ours_are() {
    let client = serve(Named.into_methods(), "inproc://hygiene-names").await;
    let names: NamesClient = Caller::new(client.clone()).into();
    let all = within("all", names.all(1, 2, 3, 4, 5, 6)).await;
    assert_eq!(all, Ok(vec![1, 2, 3, 4, 5, 6]));
    assert_eq!(within("raw", names.raw(1, 2, 3)).await, Ok(6));
    assert_eq!(within("move", names.r#move(4)).await, Ok(4));
    assert_eq!(within("move", client.call("move", &(5,))).await, Ok(5));
    assert_eq!(within("new", names.new("x".to_owned())).await, Ok("x".to_owned()));
    assert_eq!(
        within("connect", names.connect("y".to_owned())).await,
        Ok("y".to_owned())
    );
    assert_eq!(within("clone", names.clone(6)).await, Ok(6));
    assert_eq!(within("from", names.from(7)).await, Ok(7));
    assert_eq!(within("call", names.call()).await, Ok(1));
    assert_eq!(within("number", names.number(None)).await, Ok(None));
    #[expect(deprecated)]
    let old = names.old();
    assert_eq!(within("old", old).await, Ok(2));
    let again = Clone::clone(&names);
    assert_eq!(within("call", again.call()).await, Ok(1));
}

mod inner {
    use super::Failure;

    #[flexbond_rpc::service]
    pub(crate) trait Visible {
        async fn depth(&self) -> Result<u8, Failure>;
    }

    impl Visible for u8 {
        async fn depth(&self) -> Result<u8, Failure> {
            Ok(*self)
        }
    }

    pub(crate) mod deep {
        #[flexbond_rpc::service]
        pub(in super::super) trait Deep: Sized + std::fmt::Debug {
            async fn depth(&self) -> Result<u8, super::Failure>;
        }
    }
}

impl inner::deep::Deep for u16 {
    async fn depth(&self) -> Result<u8, Failure> {
        u8::try_from(*self).map_err(|error| Failure::failed(1, error.to_string()))
    }
}

#[tokio::test]
async fn a_trait_may_be_seen_as_far_as_it_says() {
    use inner::Visible as _;
    use inner::deep::Deep as _;
    let client = serve(2_u8.into_methods(), "inproc://hygiene-visible").await;
    assert_eq!(
        within("depth", inner::VisibleClient::new(client).depth()).await,
        Ok(2)
    );
    let client = serve(3_u16.into_methods(), "inproc://hygiene-deep").await;
    let deep = inner::deep::DeepClient::new(client);
    assert_eq!(within("depth", deep.depth()).await, Ok(3));
}

#[tokio::test]
async fn a_trait_may_be_within_a_function_and_know_its_types() {
    #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
    struct Local(u8);

    #[flexbond_rpc::service]
    trait Within {
        async fn echo(&self, local: Local) -> Result<Local, Failure>;
    }

    impl Within for () {
        async fn echo(&self, local: Local) -> Result<Local, Failure> {
            Ok(local)
        }
    }

    let client = serve(().into_methods(), "inproc://hygiene-within").await;
    let echo = within("echo", WithinClient::new(client).echo(Local(5))).await;
    assert_eq!(echo, Ok(Local(5)));
}

/// As a crate does that re-exports us.
mod elsewhere {
    pub(crate) mod parts {
        pub(crate) use flexbond_rpc as calls;
    }
}

#[elsewhere::parts::calls::service(crate = elsewhere::parts::calls)]
trait Moved {
    async fn half(&self, of: u8) -> Result<u8, Failure>;
}

/// Traits out of other macros, whose types come in groups.
macro_rules! trait_of {
    ($name:ident, $argument:ident: $argument_type:ty => $answer:ty) => {
        #[flexbond_rpc::service]
        trait $name {
            async fn made(&self, $argument: $argument_type) -> $answer;
        }
    };
}

trait_of!(Made, values: Vec<u8> => Result<usize, Failure>);

/// A result with a failure that is not named, and a service that somebody else keeps, too.
mod shared {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    type Result<T> = std::result::Result<T, flexbond_rpc::Failure>;

    #[flexbond_rpc::service]
    pub(crate) trait Counter {
        async fn next(&self) -> Result<u32>;
    }

    impl Counter for Arc<AtomicU32> {
        async fn next(&self) -> Result<u32> {
            Ok(self.fetch_add(1, Ordering::SeqCst))
        }
    }
}

#[tokio::test]
async fn a_service_may_be_shared_and_its_failure_go_without_saying() {
    use shared::Counter;
    let counter = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(7));
    let methods = std::sync::Arc::clone(&counter).into_methods();
    let client = serve(methods, "inproc://hygiene-shared").await;
    let calls = shared::CounterClient::new(client);
    assert_eq!(within("next", calls.next()).await, Ok(7));
    assert_eq!(counter.load(std::sync::atomic::Ordering::SeqCst), 8);
}

struct Both;

impl Moved for Both {
    async fn half(&self, of: u8) -> Result<u8, Failure> {
        Ok(of / 2)
    }
}

impl Made for Both {
    async fn made(&self, values: Vec<u8>) -> Result<usize, Failure> {
        Ok(values.len())
    }
}

#[tokio::test]
async fn the_crate_may_be_elsewhere_and_the_trait_from_a_macro() {
    let methods = Moved::into_methods(Both).merge(Made::into_methods(Both));
    let client = serve(methods.expect("no name twice"), "inproc://hygiene-elsewhere").await;
    assert_eq!(
        within("half", MovedClient::new(client.clone()).half(8)).await,
        Ok(4)
    );
    assert_eq!(
        within("made", MadeClient::new(client).made(vec![1, 2])).await,
        Ok(2)
    );
}
