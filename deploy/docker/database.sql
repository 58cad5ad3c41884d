-- Run once by the PostgreSQL image, when its volume is empty, as the superuser: the database of Omium and its owner.
-- The owner is no superuser, and nobody works as the owner but the job `migrate`.
\getenv password OMIUM_USER_PASSWORD
CREATE ROLE omium LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
CREATE DATABASE omium OWNER omium;
REVOKE ALL ON DATABASE omium FROM PUBLIC;
