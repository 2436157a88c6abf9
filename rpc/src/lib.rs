//! flexbond-rpc
