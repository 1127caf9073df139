-- The bank as tables: balances with the same rule as the aggregate's, and a history in which every event has an id.
DROP TABLE IF EXISTS event, account;

-- Room on each page, so that a changed row stays on its page and no index has to be touched.
CREATE TABLE account (
  id integer PRIMARY KEY,
  balance bigint NOT NULL CONSTRAINT "balance is never negative" CHECK (balance >= 0),
  seq bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE event (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  account integer NOT NULL,
  type text NOT NULL,
  amount bigint NOT NULL,
  currency text NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE OR REPLACE FUNCTION transfer(source integer, target integer, moved bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  lower integer := least(source, target);
  change bigint := CASE WHEN lower = source THEN -moved ELSE moved END;
BEGIN
  UPDATE account SET balance = balance + change, seq = seq + 1 WHERE id = lower;
  UPDATE account SET balance = balance - change, seq = seq + 1 WHERE id = greatest(source, target);
  INSERT INTO event (account, type, amount, currency) VALUES (source, 'Debited', moved, 'EUR');
  INSERT INTO event (account, type, amount, currency) VALUES (target, 'Credited', moved, 'EUR');
END
$$;
