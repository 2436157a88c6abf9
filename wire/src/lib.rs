//! flexbond-wire
