BEGIN;
INSERT INTO invoice_line (customer, article, request_id)
SELECT 'Sunny Side Eggs', 'Business Basic', request_id
FROM spinpanel.assign_license('Sunny Side Eggs', 'user19@sunnysideeggs.example', 'O365_BUSINESS_ESSENTIALS', 'a joiner');
:finish;
