'use strict';
// The catalogue every scenario starts from. SKU ids and part numbers are Microsoft's public ones;
// prices are round numbers in USD, per seat and term (offers: per seat and month).

const { guidFrom } = require('../util');

const plan = (service, name, extra) => ({ service, name: name || service, ...extra });
const mailboxSmall = plan('EXCHANGE_S_STANDARD', 'Exchange Online (Plan 1)');
const mailboxLarge = plan('EXCHANGE_S_ENTERPRISE', 'Exchange Online (Plan 2)');
const sites = plan('SHAREPOINTSTANDARD', 'SharePoint (Plan 1)');
const sitesLarge = plan('SHAREPOINTENTERPRISE', 'SharePoint (Plan 2)');
const teams = plan('TEAMS1', 'Microsoft Teams');

const skus = [
  ['O365_BUSINESS_ESSENTIALS', '3b555118-da6a-4418-894f-7df1e2096870', 'Microsoft 365 Business Basic', [mailboxSmall, sites, teams]],
  ['O365_BUSINESS_PREMIUM', 'f245ecc8-75af-4f8e-b61f-27d8114de5f3', 'Microsoft 365 Business Standard', [mailboxSmall, sites, teams, plan('OFFICE_BUSINESS')]],
  ['SPB', 'cbdc14ab-d96c-4c30-b9f4-6ada7cdc1d46', 'Microsoft 365 Business Premium', [mailboxSmall, sites, teams, plan('OFFICE_BUSINESS'), plan('INTUNE_SMBIZ')]],
  ['O365_BUSINESS', 'cdd28e44-67e3-425e-be4c-737fab2899d3', 'Microsoft 365 Apps for business', [plan('OFFICE_BUSINESS')]],
  ['SPE_E3', '05e9a617-0261-4cee-bb44-138d3ef5d965', 'Microsoft 365 E3', [mailboxLarge, sitesLarge, teams, plan('OFFICESUBSCRIPTION'), plan('INTUNE_A')]],
  ['SPE_E5', '06ebc4ee-1bb5-47dd-8120-11324bc54e06', 'Microsoft 365 E5', [mailboxLarge, sitesLarge, teams, plan('OFFICESUBSCRIPTION'), plan('MCOEV')]],
  ['SPE_F1', '66b55226-6b4f-492c-910c-a3b7a3c9d993', 'Microsoft 365 F3', [plan('EXCHANGE_S_DESKLESS'), plan('SHAREPOINTDESKLESS'), teams]],
  ['STANDARDPACK', '18181a46-0d4e-45cd-891e-60aabd171b4e', 'Office 365 E1', [mailboxSmall, sites, teams]],
  ['ENTERPRISEPACK', '6fd2c87f-b296-42f0-b197-1e91e994b900', 'Office 365 E3', [mailboxLarge, sitesLarge, teams, plan('OFFICESUBSCRIPTION')]],
  ['EXCHANGESTANDARD', '4b9405b0-7788-4568-add1-99614e613b69', 'Exchange Online (Plan 1)', [mailboxSmall]],
  ['EXCHANGEARCHIVE_ADDON', 'ee02fd1b-340e-4a4b-b355-4a514e4c8943', 'Exchange Online Archiving for Exchange Online',
    [plan('EXCHANGE_S_ARCHIVE_ADDON', 'Exchange Online Archiving', { requires: ['EXCHANGE_S_STANDARD', 'EXCHANGE_S_ENTERPRISE'] })]],
  ['EMS', 'efccb6f7-5641-4e0e-bd10-b4976e1bf68e', 'Enterprise Mobility + Security E3', [
    plan('RMS_S_PREMIUM', 'Azure Information Protection Premium P1', { id: '6c57d4b6-3b23-47a5-9bc9-69f17b4947b3' }),
    plan('INTUNE_A', 'Microsoft Intune A Direct', { id: 'c1ec4a95-1f05-45b3-a911-aa3fa01094f5' }),
    plan('RMS_S_ENTERPRISE', 'Microsoft Azure Active Directory Rights', { id: 'bea4c11e-220a-4e6d-8eb8-8ea15d019f90' }),
    plan('AAD_PREMIUM', 'Azure Active Directory Premium P1', { id: '41781fb2-bc02-4b7c-bd55-b576c07bb09d' }),
    plan('MFA_PREMIUM', 'Microsoft Azure Multi-Factor Authentication', { id: '8a256a2b-b617-496d-b51b-e76466e88db0' })]],
  ['POWER_BI_PRO', 'f8a1db68-be16-40ed-86d5-cb42ce701560', 'Power BI Pro', [
    plan('EXCHANGE_S_FOUNDATION', 'Exchange Foundation', { id: '113feb6c-3fe4-4440-bddc-54d774bf0318', target: 'Tenant' }),
    plan('BI_AZURE_P2', 'Power BI Pro', { id: '70d33638-9c74-4d01-bfd3-562de28bd4ba' })]],
  ['VISIOCLIENT', 'c5928f49-12ba-48f7-ada3-0d743a3601d5', 'Visio Plan 2', [plan('VISIO_CLIENT_SUBSCRIPTION')]],
  ['PROJECTPROFESSIONAL', '53818b1b-4a27-454b-8896-0dba576410e6', 'Project Plan 3', [plan('PROJECT_CLIENT_SUBSCRIPTION')]],
  ['MCOMEETADV', '0c266dff-15dd-4b49-8397-2bb16070ed52', 'Microsoft 365 Audio Conferencing', [plan('MCOMEETADV')]],
  ['MCOEV', 'e43b5b99-8dfb-405f-9987-dc307f34bcbd', 'Microsoft Teams Phone Standard', [plan('MCOEV')]],
  ['AAD_PREMIUM', '078d2b04-f1bd-4111-bbd4-b4b1b354cef4', 'Microsoft Entra ID P1', [plan('AAD_PREMIUM', 'Azure Active Directory Premium P1', { id: '41781fb2-bc02-4b7c-bd55-b576c07bb09d' })]],
  ['MCOCAP', '295a8eb0-f78d-45c7-8b5b-1eed5ed02dff', 'Microsoft Teams Shared Devices', [plan('MCOEV')]],
  ['MEETING_ROOM', '6070a4c8-34c6-4937-8dfb-39bbc6397a60', 'Microsoft Teams Rooms Standard', [plan('TEAMS_ROOMS')]],
  ['SHAREPOINTSTORAGE', '99049c9c-6011-4908-bf17-15f496e6519d', 'Office 365 Extra File Storage', [plan('SHAREPOINTSTORAGE', null, { target: 'Tenant' })], { target_type: 'Tenant' }],
  ['MINECRAFT_EDU', guidFrom('sku MINECRAFT_EDU'), 'Minecraft Education', [plan('MINECRAFT')], { license_group: 'group2' }],
].map(([part_number, sku_id, name, plans, extra]) => ({ part_number, sku_id, name, plans, ...extra }));

/** Terms from the monthly price of a yearly commitment; a month at a time costs a fifth more. */
const terms = (monthly, without = []) => [
  { term: 'P1Y', cycle: 'monthly', price: Math.round(monthly * 1200) / 100 },
  { term: 'P1Y', cycle: 'annual', price: Math.round(monthly * 1200) / 100 },
  { term: 'P1M', cycle: 'monthly', price: Math.round(monthly * 120) / 100 },
].filter((t) => !without.includes(t.term));

const business = { max: 300, pooled_max: 300 };

const products = [
  ['CFQ7TTC0LH18:0001', 'O365_BUSINESS_ESSENTIALS', 6, { ...business, availability_id: 'CFQ7TTC0K971' }],
  ['CFQ7TTC0LDPB:0001', 'O365_BUSINESS_PREMIUM', 12.5, business],
  ['CFQ7TTC0LCHC:0002', 'SPB', 22, business],
  ['CFQ7TTC0LH1G:0001', 'O365_BUSINESS', 8.25, business],
  ['CFQ7TTC0LFLX:0001', 'SPE_E3', 36],
  ['CFQ7TTC0LFLZ:0002', 'SPE_E5', 57, { availability_id: 'CFQ7TTC0K4TS' }],
  ['CFQ7TTC0LH05:0001', 'SPE_F1', 8],
  ['CFQ7TTC0LF8Q:0001', 'STANDARDPACK', 10],
  ['CFQ7TTC0LF8R:0001', 'ENTERPRISEPACK', 23],
  ['CFQ7TTC0LH16:0001', 'EXCHANGESTANDARD', 4],
  ['CFQ7TTC0LHT4:0001', 'EMS', 10.6],
  ['CFQ7TTC0HL8W:0001', 'POWER_BI_PRO', 10],
  ['CFQ7TTC0HD32:0001', 'VISIOCLIENT', 15],
  ['CFQ7TTC0HDB0:0002', 'PROJECTPROFESSIONAL', 30],
  ['CFQ7TTC0LHSL:0001', 'MCOMEETADV', 4],
  ['CFQ7TTC0LH0T:0001', 'MCOEV', 8],
  ['CFQ7TTC0LFLS:0002', 'AAD_PREMIUM', 6],
  ['CFQ7TTC0LGZP:0001', 'MCOCAP', 8],
  ['CFQ7TTC0QW7C:0001', 'MEETING_ROOM', 15],
  ['CFQ7TTC0LHS9:0001', 'SHAREPOINTSTORAGE', 0.2],
  // No monthly plan: extended terms cost 23 % more.
  ['CFQ7TTC0P0HP:0001', 'EXCHANGEARCHIVE_ADDON', 3, { without: ['P1M'] }],
].map(([key, provisions, monthly, extra = {}]) => {
  const [product_id, sku_id] = key.split(':');
  const { without, ...rest } = extra;
  return { product_id, sku_id, provisions, title: skus.find((s) => s.part_number === provisions).name, terms: terms(monthly, without), ...rest };
});

products.push({
  product_id: 'CFQ7TTC0LCHC', sku_id: '0003', provisions: 'SPB', title: 'Microsoft 365 Business Premium Trial',
  trial: true, max: 25, terms: [{ term: 'P1M', cycle: 'monthly', price: 0 }],
});

// Software as a service of other publishers, sold in the marketplace: no Entra SKU, no pool.
skus.push({ part_number: 'MARKETPLACE', sku_id: guidFrom('sku MARKETPLACE'), name: 'Marketplace', plans: [], hidden: true });
products.push({
  product_id: 'DZH318Z0BXWC', sku_id: '0002', availability_id: 'DZH318Z0BMJX', provisions: 'MARKETPLACE', title: 'Example Firewall as a Service',
  publisher: 'Example Networks, Inc.', marketplace: true, extended_terms: false,
  terms: [{ term: 'P1M', cycle: 'monthly', price: 30 }, { term: 'P1Y', cycle: 'annual', price: 300 }],
});

const offers = [
  ['legacy-SPB', '22BA39A2-1B2D-4F3E-8F3D-6B5C0E7F9A01', 'SPB', 20, { max: 300 }],
  ['legacy-O365_BUSINESS_PREMIUM', '031C9E47-4802-4248-838E-778FB1D2CC05', 'O365_BUSINESS_PREMIUM', 12.5, { max: 300 }],
  ['legacy-ENTERPRISEPACK', '796B6B5F-613C-4E24-A17C-EBA730D49C02', 'ENTERPRISEPACK', 20],
  ['legacy-EXCHANGESTANDARD', '195416C1-3447-423A-B37B-EE59A99A19C4', 'EXCHANGESTANDARD', 4],
  ['legacy-EXCHANGEARCHIVE_ADDON', '2828BE95-46BA-4F91-B2FD-0BEF192ECF60', 'EXCHANGEARCHIVE_ADDON', 3, { addon: true }],
  ['legacy-POWER_BI_PRO', '800F4F3B-CFE1-42C1-9CEA-675512810488', 'POWER_BI_PRO', 10, { min: 1 }],
  ['legacy-SPE_E5', '8BDBB60B-E526-43E9-92EF-AB760C8E0B72', 'SPE_E5', 57],
  ['legacy-PROJECT-min5', '2A3A4B5C-1111-4222-8333-444455556666', 'PROJECTPROFESSIONAL', 30, { min: 5 }],
  ['legacy-trial-ENTERPRISEPACK', '8339CC50-D965-4AD5-BB94-749021A5EBF9', 'ENTERPRISEPACK', 0, { trial: true, max: 25 }],
].map(([alias, offer_id, provisions, price, extra]) => ({
  alias, offer_id, provisions, price, name: skus.find((s) => s.part_number === provisions).name, ...extra,
}));

module.exports = { skus, products, offers };
