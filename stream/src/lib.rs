//! flexbond-stream
