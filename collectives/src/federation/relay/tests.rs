//! Parties and servers over a bad network.
