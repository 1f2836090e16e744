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
	return get($port, 'https://api.partner.microsoft.com/.default', "/v1.0/sales/pricesheets(Market='$market',PricesheetView='updatedlicensebased')/\$value", $account);
}

# get(PORT, SCOPE, PATH): what the partner's own access gets there
sub get
{
	my ($port, $scope, $path, $account) = @_;
	my $http = HTTP::Tiny->new(timeout => 60, proxy => undef);
	my $root = "http://127.0.0.1:$port";
	$account //= decode_json($http->get("$root/_emulator/accounts")->{content})->[0];
	my $token = $http->post_form("$root/$account->{tenant_id}/oauth2/v2.0/token", {
		grant_type => 'refresh_token',
		client_id => $account->{client_id},
		client_secret => $account->{client_secret},
		refresh_token => $account->{refresh_token},
		scope => $scope });
	die "no token: $token->{content}\n" unless $token->{success};
	my $answer = $http->get("$root$path", { headers => { authorization => 'Bearer ' . decode_json($token->{content})->{access_token} } });
	die "$path: $answer->{status} $answer->{content}\n" unless $answer->{success};
	return $answer->{content};
}

# perl PriceSheet.pm PORT MARKET
print fetch(@ARGV) unless caller;

1;
