// projection: query models. Rows and documents that pure functions make of committed events, kept in SQLite, rqlite, MongoDB.
//
// Promises P5 (a projection's position moves with its rows: after a crash there is no gap and no double) and P6 (an erased
// entity leaves no row).
// Not promised: that a projection has seen an event; there is a way to wait for it.
export {};
