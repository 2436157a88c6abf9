//! `flexbond socket` against itself, in every pattern, bound at either end, over tcp and ipc.

mod program;

use program::Side;
use program::conversation::{self, Ends};

macro_rules! conversations {
    ($($name:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            Ends::each(Side::Ours, Side::Ours).for_each(conversation::$name);
        }
    )*};
}

conversations!(
    push_pull,
    req_rep,
    req_rep_echo,
    req_router,
    dealer_rep,
    dealer_router,
    dealer_router_echo,
    pair,
    publish_subscribe,
    xpub_xsub,
);
