//! flexbond-session
