-- The same transfer in one round trip: the four statements stand in a function on the server.
\set source random(1, :accounts)
\set target 1 + (:source - 1 + random(1, :accounts - 1)) % :accounts
\set moved random(1, 100)
SELECT transfer(:source, :target, :moved);
