//! flexbond-flexbond
