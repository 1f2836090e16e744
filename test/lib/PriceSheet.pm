# The price sheet of a market as the emulator's pricing service gives it: a CSV.
#
#   PriceSheet::fetch(PORT, 'US', ACCOUNT)       ACCOUNT: the emulator's account, by default the first
package PriceSheet;

use strict;
use warnings;

use HTTP::Tiny;
use JSON::PP;

sub fetch
{
	my ($port, $market, $account) = @_;
	my $http = HTTP::Tiny->new(timeout => 60, proxy => undef);
	my $root = "http://127.0.0.1:$port";
	$account //= decode_json($http->get("$root/_emulator/accounts")->{content})->[0];
	my $token = $http->post_form("$root/$account->{tenant_id}/oauth2/v2.0/token", {
		grant_type => 'refresh_token',
		client_id => $account->{client_id},
		client_secret => $account->{client_secret},
		refresh_token => $account->{refresh_token},
		scope => 'https://api.partner.microsoft.com/.default' });
	die "no token for the price sheet: $token->{content}\n" unless $token->{success};
	my $sheet = $http->get("$root/v1.0/sales/pricesheets(Market='$market',PricesheetView='updatedlicensebased')/\$value",
		{ headers => { authorization => 'Bearer ' . decode_json($token->{content})->{access_token} } });
	die "no price sheet: $sheet->{status} $sheet->{content}\n" unless $sheet->{success};
	return $sheet->{content};
}

# perl PriceSheet.pm PORT MARKET
print fetch(@ARGV) unless caller;

1;
