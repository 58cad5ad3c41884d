-- Run after database.sql by the PostgreSQL image, as the superuser: the login of the API and of the workers, and the two roles
-- that it works as. None of them owns a table, so row-level security binds them all. It can be run again: with a volume
-- that an older release made, run it before the upgrade.
\getenv password OMIUM_SERVICE_PASSWORD
SELECT format('CREATE ROLE %I NOLOGIN', wanted) FROM unnest(ARRAY['omium_app', 'omium_system']) AS wanted
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) \gexec
SELECT 'CREATE ROLE omium_service' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'omium_service') \gexec
ALTER ROLE omium_service LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT PASSWORD :'password';
GRANT omium_app, omium_system TO omium, omium_service WITH INHERIT FALSE, SET TRUE;
GRANT CONNECT ON DATABASE omium TO omium_service;
