-- One transfer as an application sends it: statement by statement. Rows are changed in the order of their keys, so that
-- two transfers never wait for each other.
\set source random(1, :accounts)
\set target 1 + (:source - 1 + random(1, :accounts - 1)) % :accounts
\set moved random(1, 100)
\set lower least(:source, :target)
\set higher greatest(:source, :target)
\set change case when :lower = :source then -:moved else :moved end
BEGIN;
UPDATE account SET balance = balance + :change, seq = seq + 1 WHERE id = :lower;
UPDATE account SET balance = balance - :change, seq = seq + 1 WHERE id = :higher;
INSERT INTO event (account, type, amount, currency) VALUES (:source, 'Debited', :moved, 'EUR');
INSERT INTO event (account, type, amount, currency) VALUES (:target, 'Credited', :moved, 'EUR');
COMMIT;
