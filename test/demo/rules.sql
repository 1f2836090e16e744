SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => true) \gset
SELECT c.name AS customer, r.auto_license_adjustment AS adjustment, r.auto_increment AS increment, r.spare_seats AS spare,
       r.removal_limit_percent AS limit_percent, r.removal_limit_seats AS limit_seats
FROM (SELECT * FROM spinpanel.set_relationship('Umber Paints', auto_license_adjustment => false, auto_increment => true)
      UNION ALL SELECT * FROM spinpanel.set_relationship('Northwind Plumbing', spare_seats => 1)
      UNION ALL SELECT * FROM spinpanel.set_relationship('Contoso Bakery', removal_limit_percent => 10, removal_limit_seats => 4)
      UNION ALL SELECT * FROM spinpanel.set_relationship('Adventure Cycles', removal_limit_percent => 10, removal_limit_seats => 4)) r
JOIN spinpanel.customer c USING (customer_id);
