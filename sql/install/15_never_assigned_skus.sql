-- SKUs whose seats are never assigned to users, by the part numbers of Microsoft's
-- licensing service plan reference, in capitals (they are compared so).  Only what
-- is surely so: of what is doubtful, the guards of rule 6 hold removals back anyway.
INSERT INTO never_assigned_sku_shipped (part_number, reason)
SELECT pg_catalog.upper(p), s.reason FROM (VALUES
    ('a room or shared device signs in with it, not a user', ARRAY[
        'MEETING_ROOM', 'MEETING_ROOM_GOV', 'MEETING_ROOM_NOAUDIOCONF', 'MEETING_ROOM_GOV_NOAUDIOCONF',
        'MTR_PREM', 'Microsoft_Teams_Rooms_Basic', 'Microsoft_Teams_Rooms_Basic_FAC',
        'Microsoft_Teams_Rooms_Basic_without_Audio_Conferencing', 'Microsoft_Teams_Rooms_Pro',
        'Microsoft_Teams_Rooms_Pro_FAC', 'Microsoft_Teams_Rooms_Pro_GCC',
        'Microsoft_Teams_Rooms_Pro_without_Audio_Conferencing', 'MCOCAP', 'MCOCAP_FACULTY', 'MCOCAP_GOV']),
    ('licensed per device, not assigned to users', ARRAY[
        'INTUNE_A_D', 'INTUNE_A_D_GOV', 'OFFICE_PROPLUS_DEVICE1', 'Dynamics_365_for_Operations_Devices',
        'Windows_365_S_2vCPU_4GB_64GB', 'Windows_365_S_2vCPU_4GB_128GB', 'Windows_365_S_2vCPU_4GB_256GB',
        'Windows_365_S_2vCPU_8GB_128GB', 'Windows_365_S_2vCPU_8GB_256GB', 'Windows_365_S_4vCPU_16GB_128GB',
        'Windows_365_S_4vCPU_16GB_256GB', 'Windows_365_S_4vCPU_16GB_512GB', 'Windows_365_S_8vCPU_32GB_128GB',
        'Windows_365_S_8vCPU_32GB_256GB', 'Windows_365_S_8vCPU_32GB_512GB']),
    ('licensed per server', ARRAY[
        'MDATP_Server']),
    ('a call queue, auto attendant or the tenant uses it, not a user', ARRAY[
        'PHONESYSTEM_VIRTUALUSER', 'PHONESYSTEM_VIRTUALUSER_FACULTY', 'PHONESYSTEM_VIRTUALUSER_GOV',
        'PHONESYSTEM_VIRTUALUSER_USGOV_GCCHIGH', 'MCOPSTNC', 'MCOPSTNPP']),
    ('storage of the whole tenant', ARRAY[
        'SHAREPOINTSTORAGE', 'SHAREPOINTSTORAGE_GOV', 'STREAM_STORAGE', 'CRMSTORAGE', 'CRMSTORAGE_GCC',
        'CDS_DB_CAPACITY', 'CDS_DB_CAPACITY_GOV', 'CDS_FILE_CAPACITY', 'CDS_LOG_CAPACITY',
        'DYN365_BUSCENTRAL_DB_CAPACITY']),
    ('capacity of the whole tenant', ARRAY[
        'CDSAICAPACITY', 'PBI_PREMIUM_EM1_ADDON', 'PBI_PREMIUM_EM2_ADDON', 'PBI_PREMIUM_P1_ADDON',
        'PBI_PREMIUM_P1_ADDON_GCC', 'POWERAPPS_PORTALS_LOGIN_T2', 'POWERAPPS_PORTALS_LOGIN_T2_GCC',
        'POWERAPPS_PORTALS_LOGIN_T3', 'POWERAPPS_PORTALS_PAGEVIEW', 'POWERAPPS_PORTALS_PAGEVIEW_GCC',
        'VIRTUAL_AGENT_BASE', 'VIRTUAL_AGENT_BASE_GCC', 'DYN365_CUSTOMER_VOICE_ADDON', 'Forms_Pro_AddOn',
        'DYN365_MARKETING_CONTACT_ADDON_T3', 'DYN365_MARKETING_CONTACT_ADDON_T5',
        'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_1_V2', 'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_1_EDU_V2',
        'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_1_V2_GCC', 'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_1_V2_USGOV_DOD',
        'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_1_V2_USGOV_GCCHIGH', 'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_10_V2',
        'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_10_EDU_V2', 'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_10_V2_GCC',
        'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_10_V2_USGOV_DOD',
        'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_10_V2_USGOV_GCCHIGH', 'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_50',
        'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_50_V2', 'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_50_EDU_V2',
        'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_100_V2', 'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_100_EDU_V2',
        'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_100_V2_GCC', 'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_100_V2_USGOV_DOD',
        'PRIVACY_MANAGEMENT_SUB_RIGHTS_REQ_100_V2_USGOV_GCCHIGH',
        'Power_Pages_authenticated_users_T1_100_users/per_site/month_capacity_pack',
        'Power_Pages_authenticated_users_T1_100_users/per_site/month_capacity_pack_GCC',
        'Power_Pages_authenticated_users_T1_100_users/per_site/month_capacity_pack_USGOV_DOD',
        'Power_Pages_authenticated_users_T1_100_users/per_site/month_capacity_pack_USGOV_GCCHIGH',
        'Power_Pages_authenticated_users_T2_min_100_units_100_users/per_site/month_capacity_pack',
        'Power_Pages_authenticated_users_T2_min_100_units_100_users/per_site/month_capacity_pack_GCC',
        'Power_Pages_authenticated_users_T2_min_100_units_100_users/per_site/month_capacity_pack_USGOV_DOD',
        'Power_Pages_authenticated_users_T2_min_100_units_100_users/per_site/month_capacity_pack_USGOV_GCCHIGH',
        'Power_Pages_authenticated_users_T3_min_1,000_units_100_users/per_site/month_capacity_pack',
        'Power_Pages_authenticated_users_T3_min_1,000_units_100_users/per_site/month_capacity_pack_GCC',
        'Power_Pages_authenticated_users_T3_min_1,000_units_100_users/per_site/month_capacity_pack_USGOV_DOD',
        'Power_Pages_authenticated_users_T3_min_1,000_units_100_users/per_site/month_capacity_pack_USGOV_GCCHIGH']),
    ('allocated to environments, not assigned to users', ARRAY[
        'POWERAPPS_PER_APP', 'POWERAPPS_PER_APP_NEW', 'POWERAPPS_PER_APP_GCC', 'POWERAPPS_PER_APP_GCC_NEW',
        'POWERAPPS_PER_APP_BD_ONLY_GCC', 'Power_Apps_per_app_plan_(1_app_or_portal)_BD_Only_GCC',
        'FLOW_BUSINESS_PROCESS', 'FLOW_BUSINESS_PROCESS_GCC', 'Power_Automate_per_process',
        'POWERAUTOMATE_UNATTENDED_RPA', 'POWERAUTOMATE_UNATTENDED_RPA_GCC']),
    ('counts environments, instances or portals, not users', ARRAY[
        'CRMINSTANCE', 'CRMINSTANCE_GCC', 'CRMTESTINSTANCE', 'CRMTESTINSTANCE_GCC', 'CRMTESTINSTANCE_NOPREREQ',
        'CRM_ONLINE_PORTAL', 'CRM_ONLINE_PORTAL_GCC', 'CRM_ONLINE_PORTAL_NOPREREQ',
        'DYN365_BUSCENTRAL_ADD_ENV_ADDON', 'DYN365_MARKETING_APPLICATION_ADDON',
        'DYN365_MARKETING_SANDBOX_APPLICATION_ADDON', 'Dynamics_365_for_Operations_Sandbox_Tier2_SKU',
        'Dynamics_365_for_Operations_Sandbox_Tier4_SKU']),
    ('counts things of the tenant, not users', ARRAY[
        'DYN365_IOT_INTELLIGENCE_ADDL_MACHINES', 'DYN365_IOT_INTELLIGENCE_SCENARIO', 'DYN365_ASSETMANAGEMENT',
        'CRM_AUTO_ROUTING_ADDON', 'CMPA_addon', 'CMPA_addon_GCC']),
    ('switches a feature of the whole tenant on', ARRAY[
        'WINDOWS_STORE', 'WSFB_EDU_FACULTY', 'CRM_HYBRIDCONNECTOR'])
) AS s (reason, part_numbers), pg_catalog.unnest(s.part_numbers) AS p;
