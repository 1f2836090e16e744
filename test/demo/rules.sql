SELECT count(*) AS customers_switched_on FROM spinpanel.set_relationship('*', auto_license_adjustment => true);
SELECT c.name, r.auto_license_adjustment, r.auto_increment
FROM spinpanel.set_relationship('Umber Paints', auto_license_adjustment => false, auto_increment => true) r
JOIN spinpanel.customer c USING (customer_id);
SELECT c.name, r.spare_seats FROM spinpanel.set_relationship('Northwind Plumbing', spare_seats => 1) r
JOIN spinpanel.customer c USING (customer_id);
