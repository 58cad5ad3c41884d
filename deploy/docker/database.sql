-- Run once by the PostgreSQL image, when its volume is empty, as the superuser: the user and the database of Omium.
-- The user is no superuser: a superuser is not bound by row-level security.
\getenv password OMIUM_USER_PASSWORD
CREATE ROLE omium LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
CREATE DATABASE omium OWNER omium;
REVOKE ALL ON DATABASE omium FROM PUBLIC;
