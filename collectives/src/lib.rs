//! flexbond-collectives
