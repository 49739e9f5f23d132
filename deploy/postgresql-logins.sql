-- Creates the accounts that log in, with the rights of healthcare/sql/database_roles.sql, and sets their passwords. The
-- script can run again without harm. It reads the passwords from files, so that they appear on no command line.
\set folder '/run/secrets'
\getenv folder SECRETS_FOLDER
\set web_file :folder '/postgres_web_password'
\set archive_file :folder '/postgres_archive_password'
\set web `cat :'web_file'`
\set archive `cat :'archive_file'`

SELECT format('CREATE ROLE %I LOGIN', name)
FROM unnest(ARRAY['hospital_web', 'hospital_archive']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec
ALTER ROLE hospital_web PASSWORD :'web';
ALTER ROLE hospital_archive PASSWORD :'archive';
GRANT healthcare_app TO hospital_web;
GRANT healthcare_archivist TO hospital_archive;
