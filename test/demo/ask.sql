-- The seat in reserve, a customer with auto increment, four at once, and one goes while one comes
SELECT FROM spinpanel.assign_license('Northwind Plumbing', 'user19@northwindplumbing.example', 'EXCHANGESTANDARD');
SELECT FROM spinpanel.assign_license('Umber Paints', 'user24@umberpaints.example', 'SPB');
SELECT FROM spinpanel.assign_licenses('Bellows Stoves', ARRAY['user24@bellowsstoves.example', 'user25@bellowsstoves.example',
    'ada@bellowsstoves.example', 'USER25@bellowsstoves.example', 'ben@bellowsstoves.example'], 'EXCHANGESTANDARD');
BEGIN;
SELECT FROM spinpanel.release_license('Wide World Crates', 'user16@wideworldcrates.example', 'O365_BUSINESS_ESSENTIALS');
SELECT FROM spinpanel.assign_license('Wide World Crates', 'user17@wideworldcrates.example', 'O365_BUSINESS_ESSENTIALS');
COMMIT;
