'use strict';
// Customers: the list by page, and one with its profiles.

const { filterBy } = require('./paging');
const { guidFrom, link } = require('./util');

function summary(c) {
  return {
    id: c.id,
    companyProfile: {
      tenantId: c.id,
      domain: c.domain,
      companyName: c.name,
      attributes: { objectType: 'CustomerCompanyProfile' },
    },
    relationshipToPartner: 'reseller',
    attributes: { objectType: 'Customer' },
  };
}

function details(c) {
  const address = { country: c.country, city: 'Anytown', addressLine1: '1 Main Street', postalCode: '00000' };
  return {
    id: c.id,
    commerceId: guidFrom(`commerce ${c.id}`),
    companyProfile: {
      tenantId: c.id,
      domain: c.domain,
      companyName: c.name,
      address,
      email: `office@${c.domain}`,
      links: { self: link(`/customers/${c.id}/profiles/company`) },
      attributes: { objectType: 'CustomerCompanyProfile' },
    },
    billingProfile: {
      id: guidFrom(`billing ${c.id}`),
      firstName: 'Accounts',
      lastName: 'Payable',
      email: `billing@${c.domain}`,
      culture: 'en-US',
      language: 'en',
      companyName: c.name,
      defaultAddress: { ...address, firstName: 'Accounts', lastName: 'Payable' },
      links: { self: link(`/customers/${c.id}/profiles/billing`) },
      attributes: { etag: '-4242348048554929329', objectType: 'CustomerBillingProfile' },
    },
    relationshipToPartner: 'reseller',
    allowDelegatedAccess: c.licence_access,
    customDomains: [c.domain],
    links: { self: link(`/customers/${c.id}`) },
    attributes: { objectType: 'Customer' },
  };
}

function list(world, ctx) {
  const position = world.pages.position(ctx.request, world.options, `customers ${ctx.account}`);
  const keep = filterBy(position.filter, { companyname: (c) => c.name, domain: (c) => c.domain });
  const all = world.directory.profiles(ctx.account, position.filter ? keep : null, position.from, position.size);
  return world.pages.collection(all.items.map(summary), position, all.more, `/v1/customers?size=${position.size}`, world.options);
}

const get = (world, ctx) => ({ status: 200, body: details(ctx.customer) });

module.exports = { list, get };
